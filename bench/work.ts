// What a work is: one thing that an app does, in several ways that are measured side by side.

export interface Work {
  /** For `--only`. */
  readonly name: string;
  readonly title: string;
  /** What is done, and what the floor is. */
  readonly about: string;
  /** Of a figure, such as "ms per append"; less is better. */
  readonly unit: string;
  readonly goals: readonly Goal[];
  /** Where cost is shown against a size: what the sizes are. Draws a plot. */
  readonly axis?: string;
  /** Fewer than the usual rounds are no option; more where each is short. */
  readonly rounds?: number;
  /** Peers that are not here, and why. */
  readonly leftOut?: Readonly<Record<string, string>>;
  open(bench: Bench): Promise<Stage>;
  /** What runs in another tab of this work, by name. */
  readonly tabs?: Readonly<Record<string, (args: Record<string, string>) => Promise<void>>>;
}

export interface Stage {
  readonly variants: readonly Variant[];
  /** What is counted, not timed; after the last round. */
  facts?(): Promise<Fact[]>;
  close(): Promise<void>;
}

export interface Variant {
  readonly name: string;
  /** The size, on the axis. */
  readonly at?: number;
  /** How many units one run makes. */
  readonly per?: number;
  /** Before each run, not measured. */
  prepare?(): Promise<void>;
  /** Timed as a whole, unless it gives what it measured itself, in ms per unit: of many, their median and their 95th percentile count. */
  run(): Promise<number | readonly number[] | void>;
}

/** A ratio of two variants, of the same round each; `speed` is how many times as fast, `time` how many times as long; `at` that size. */
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

/** What the place that a work runs in has for it. */
export interface Bench {
  /** The second where the run is a quick one, which shows only that everything works. */
  size(full: number, quick: number): number;
  readonly quick: boolean;
  /** Ways of other packages, where they are installed. */
  peers<T>(of: Readonly<Record<string, () => Promise<T>>>): Promise<Record<string, T>>;
  /** Bytes of this page's JavaScript heap; `collected`: without what nobody can reach. */
  heap(collected: boolean): Promise<number>;
  /** Another tab, running what the work has under that name; resolves when it is loaded. */
  openTab(name: string, args: Record<string, string>): Promise<Tab>;
}

export interface Tab {
  crash(): Promise<void>;
  close(): Promise<void>;
}

/** A work's figures, as they go to the report. */
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
