// Writes BENCHMARKS.md: the measured figures and nothing else.
import { quantile } from "./measure.js";
import { type Curve, plot } from "./plot.js";
import { type Verdict, verdict } from "./verdict.js";
import type { Measured, MeasuredRow, Work } from "./work.js";

/** The surroundings that all figures of one report share. */
export interface Surroundings {
  readonly machine: string;
  readonly browser: string;
  readonly node: string;
  readonly versions: Readonly<Record<string, string>>;
  /** Peers that were not measured, because they were not installed. */
  readonly missing: readonly string[];
  readonly quick: boolean;
}

export interface Result {
  /**
   * The surroundings of an earlier run, where this work was measured on another machine, in another browser or with another
   * package.
   */
  readonly around?: Surroundings;
  readonly place: string;
  readonly when: string;
  /** The machine's load when the run began. */
  readonly load: string;
  readonly measured: Measured;
}

/** The content of bench/results.json. */
export interface Results {
  readonly around: Surroundings;
  readonly results: readonly Result[];
}

const packagesOf = ({ versions }: Surroundings) =>
  Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
/** Names the packages only where their versions differ from those of this run. */
const placeOf = (there: Surroundings, here: Surroundings) =>
  [
    there.machine,
    there.browser,
    `Node ${there.node}`,
    ...(packagesOf(there) === packagesOf(here) ? [] : [packagesOf(there)]),
  ].join(", ");

/** Works stand in the order of `works`. */
export function report({ around, results }: Results, works: readonly Work[]): { markdown: string; plots: Map<string, string> } {
  const plots = new Map<string, string>();
  const told = works.flatMap((work) => {
    const result = results.find(({ measured }) => measured.work === work.name);
    return result ? [{ ...result, work }] : [];
  });
  const sections = told.map((result) => section(result, around, plots));
  const markdown = [
    "# Benchmarks",
    "",
    "holdfast beside what people would use instead, interleaved: every round measures every variant of a work once, each time in another",
    "order. Written by `npm run bench`; no figure here comes from anywhere else, and those of each round are in bench/results.json.",
    ...(around.quick ? ["", "**A quick run: one round with tiny counts. It shows that everything works, and no speed.**"] : []),
    "",
    "Figures are medians of the rounds, with the least and the greatest. A ratio is made within each round; what stands here is the median of",
    "those, with its least and its greatest. Every commit on both sides asks for strict durability, unless a line says otherwise.",
    "",
    `- Machine: ${around.machine}`,
    `- Browser: ${around.browser}; Node ${around.node}`,
    `- Packages: ${packagesOf(around)}`,
    ...(around.missing.length > 0 ? [`- Not installed, so not measured: ${around.missing.join(", ")}`] : []),
    "",
    "## Goals",
    "",
    ...table(
      ["work", "measured", "median", "least .. greatest", "goal", ""],
      told.flatMap(({ work, measured }) =>
        verdictsOf(work, measured)
          .filter(({ reached }) => reached !== undefined)
          .map((found) => [`[${work.title}](#${anchor(work.title)})`, ...verdictCells(found, around.quick)]),
      ),
    ),
    "",
    ...sections.flat(),
  ].join("\n");
  return { markdown: `${markdown.trimEnd()}\n`, plots };
}

function section(
  { work, around, place, when, load, measured }: Result & { work: Work },
  here: Surroundings,
  plots: Map<string, string>,
): string[] {
  const { rows, facts, seconds } = measured;
  const hasSizes = work.axis !== undefined;
  const verdicts = verdictsOf(work, measured);
  const lines = [
    `## ${work.title}`,
    "",
    `${work.about} (\`npm run bench -- --only ${work.name}\`; ${[place, ...(rows[0] ? [`rounds: ${rows[0].rounds.length}`] : []), `${seconds.toFixed(0)} s in all`, when, `load average when the run began: ${load}`].join(", ")})`,
    "",
    ...(around ? [`Measured elsewhere: ${placeOf(around, here)}.`, ""] : []),
    ...(rows.length > 0
      ? table(
          [...(hasSizes ? [work.axis as string] : []), "variant", work.unit, "least .. greatest"],
          rows.map((row) => [
            ...(hasSizes ? [(row.at ?? 0).toLocaleString("en")] : []),
            row.name,
            figure(quantile(row.rounds, 0.5)),
            spread(row.rounds),
          ]),
        )
      : []),
    ...(facts.length > 0
      ? [
          "",
          ...table(
            ["counted", ""],
            facts.map(({ name, value, unit }) => [name, `${figure(value)} ${unit}`.trim()]),
          ),
        ]
      : []),
    ...(verdicts.length > 0
      ? [
          "",
          ...table(
            ["compared", "median", "least .. greatest", "goal", ""],
            verdicts.map((found) => verdictCells(found, here.quick)),
          ),
        ]
      : []),
    ...Object.entries(work.leftOut ?? {}).map(([peer, reason], at) => `${at === 0 ? "\n" : ""}- Left out: ${peer}; ${reason}.`),
    "",
  ];
  if (!hasSizes) return lines;
  const curves = curvesOf(rows);
  plots.set(`${work.name}.svg`, plot(work.title, work.axis as string, work.unit, curves));
  return [
    ...lines,
    `![${work.title}](bench/plots/${work.name}.svg)`,
    "",
    ...curves.map(({ name, points }) => {
      const [first, last] = [points[0], points.at(-1)];
      if (!first || !last || first === last) return `- ${name}: one size`;
      return `- ${name}: ${figure(last.x / first.x)} times the size costs ${figure(last.y / first.y)} times as much`;
    }),
    "",
  ];
}

function curvesOf(rows: readonly MeasuredRow[]): Curve[] {
  return [...new Set(rows.map(({ name }) => name))].map((name) => ({
    name,
    points: rows
      .filter((row) => row.name === name)
      .map(({ at = 1, rounds }) => ({ x: at, y: quantile(rounds, 0.5), low: Math.min(...rounds), high: Math.max(...rounds) }))
      .sort((a, b) => a.x - b.x),
  }));
}

const verdictsOf = (work: Pick<Work, "goals">, measured: Measured): Verdict[] =>
  work.goals.flatMap((goal) => verdict(goal, measured) ?? []);

function verdictCells({ what, values, unit, goal, reached }: Verdict, quick: boolean): string[] {
  const median = `${figure(quantile(values, 0.5))} ${unit}`.trim();
  const outcome = reached === undefined ? "" : quick ? "not judged" : reached ? "reached" : "**not reached**";
  return [what, median, values.length > 1 ? spread(values) : "", goal, outcome];
}

const spread = (values: readonly number[]) => `${figure(Math.min(...values))} .. ${figure(Math.max(...values))}`;

/** Three significant digits. */
export function figure(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(heads), line(heads.map(() => "---")), ...rows.map(line)];
}

/** GitHub's anchor of a heading. */
const anchor = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N} -]/gu, "")
    .replaceAll(" ", "-");
