// A work: one thing that an app does, in several variants that are measured side by side.

export interface Work {
  /** The name for `--only`. */
  readonly name: string;
  readonly title: string;
  /** The measured action, and its floor. */
  readonly about: string;
  /** The unit of a figure, such as "ms per append"; less is better. */
  readonly unit: string;
  readonly goals: readonly Goal[];
  /** The sizes on the axis, where cost is plotted against a size. */
  readonly axis?: string;
  /** More rounds than usual, for a work with short ones. Fewer are not allowed. */
  readonly rounds?: number;
  /** Peers that this work leaves out, and the reasons. */
  readonly leftOut?: Readonly<Record<string, string>>;
  open(bench: Bench): Promise<Stage>;
  /** Code that runs in another tab of this work, by name. */
  readonly tabs?: Readonly<Record<string, (args: Record<string, string>) => Promise<void>>>;
}

export interface Stage {
  readonly variants: readonly Variant[];
  /** Counted, not timed, after the last round. */
  facts?(): Promise<Fact[]>;
  close(): Promise<void>;
}

export interface Variant {
  readonly name: string;
  /** The size, on the axis. */
  readonly at?: number;
  /** Units per run. */
  readonly per?: number;
  /** Runs before each run, not measured. */
  prepare?(): Promise<void>;
  /**
   * Timed as a whole, unless it returns its own measurement, in ms per unit. A list counts by its median and 95th percentile.
   */
  run(): Promise<number | readonly number[] | void>;
}

/** A ratio of two variants of the same round. `speed`: how many times as fast; `time`: how many times as long; `at`: the size. */
export type Goal =
  | { readonly of: string; readonly over: string; readonly speed: number | "printed" }
  | { readonly of: string; readonly over: string; readonly time: number | "printed"; readonly at?: number }
  | { readonly of: string; readonly over: string; readonly beyondMs: number }
  | { readonly fact: string; readonly atMost: number };

export interface Fact {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** The services that a page or Node has for a work. */
export interface Bench {
  /** `quick` in a quick run, which only shows that everything works. */
  size(full: number, quick: number): number;
  readonly quick: boolean;
  /** Variants of other packages, where they are installed. */
  peers<T>(of: Readonly<Record<string, () => Promise<T>>>): Promise<Record<string, T>>;
  /** Bytes of this page's JavaScript heap. `collected`: after a garbage collection. */
  heap(collected: boolean): Promise<number>;
  /** Opens another tab with the code of that name in the work's `tabs`. Resolves when the tab is loaded. */
  openTab(name: string, args: Record<string, string>): Promise<Tab>;
}

export interface Tab {
  crash(): Promise<void>;
  close(): Promise<void>;
}

/** A work's figures for the report. */
export interface Measured {
  readonly work: string;
  readonly rows: readonly MeasuredRow[];
  readonly facts: readonly Fact[];
  readonly seconds: number;
}

export interface MeasuredRow {
  readonly name: string;
  readonly at?: number;
  /** One figure for each round. */
  readonly rounds: readonly number[];
}
