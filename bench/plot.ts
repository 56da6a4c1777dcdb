// Draws curves on a log-log plot, as an SVG without any dependency.

export interface Curve {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number; readonly low: number; readonly high: number }[];
}

const WIDTH = 640;
const HEIGHT = 400;
const LEFT = 64;
const RIGHT = 616;
const TOP = 40;
const BOTTOM = 310;
const COLOURS = ["#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#475569"];

export function plot(title: string, xTitle: string, yTitle: string, curves: readonly Curve[]): string {
  const points = curves.flatMap((curve) => curve.points);
  const [xFrom, xTo] = decades(points.map(({ x }) => x));
  const [yFrom, yTo] = decades(points.flatMap(({ low, high }) => [low, high]));
  const place = (value: number, from: number, to: number, start: number, end: number) =>
    round(start + ((Math.log10(value) - from) / (to - from)) * (end - start));
  const x = (value: number) => place(value, xFrom, xTo, LEFT, RIGHT);
  const y = (value: number) => place(value, yFrom, yTo, BOTTOM, TOP);

  const grid = [
    ...powers(xFrom, xTo).map(
      (value) =>
        `<path d="M${x(value)} ${TOP}V${BOTTOM}" stroke="#ddd"/>` +
        `<text x="${x(value)}" y="${BOTTOM + 18}" text-anchor="middle">${value.toLocaleString("en")}</text>`,
    ),
    ...powers(yFrom, yTo).map(
      (value) =>
        `<path d="M${LEFT} ${y(value)}H${RIGHT}" stroke="#ddd"/>` +
        `<text x="${LEFT - 8}" y="${y(value) + 4}" text-anchor="end">${Number(value.toPrecision(1))}</text>`,
    ),
  ];
  const lines = curves.map(({ points: of }, at) => {
    const colour = COLOURS[at % COLOURS.length];
    const path = of.map((point, first) => `${first === 0 ? "M" : "L"}${x(point.x)} ${y(point.y)}`).join("");
    const spread = of.map((point) => `M${x(point.x)} ${y(point.low)}V${y(point.high)}`).join("");
    const dots = of.map((point) => `<circle cx="${x(point.x)}" cy="${y(point.y)}" r="3.5" fill="${colour}"/>`).join("");
    return (
      `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>` +
      `<path d="${spread}" stroke="${colour}" stroke-opacity="0.5"/>${dots}`
    );
  });
  const legend = curves.map(({ name }, at) => {
    const [left, top] = [LEFT + (at % 2) * 280, BOTTOM + 58 + Math.floor(at / 2) * 18];
    const colour = COLOURS[at % COLOURS.length];
    return `<circle cx="${left}" cy="${top - 4}" r="4" fill="${colour}"/><text x="${left + 10}" y="${top}">${escaped(name)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="${LEFT}" y="22" font-size="14">${escaped(title)}</text>`,
    ...grid,
    `<text x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 36}" text-anchor="middle">${escaped(xTitle)}</text>`,
    `<text x="16" y="${(TOP + BOTTOM) / 2}" text-anchor="middle" transform="rotate(-90 16 ${(TOP + BOTTOM) / 2})">${escaped(yTitle)}</text>`,
    ...lines,
    ...legend,
    "</svg>\n",
  ].join("\n");
}

/** The whole decades around the values, at least one. */
function decades(values: readonly number[]): [number, number] {
  const positive = values.filter((value) => value > 0);
  const from = Math.floor(Math.log10(Math.min(...positive)));
  const to = Math.ceil(Math.log10(Math.max(...positive)));
  return [from, Math.max(to, from + 1)];
}

function powers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => 10 ** (from + at));
}

const round = (value: number) => Math.round(value * 10) / 10;

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
