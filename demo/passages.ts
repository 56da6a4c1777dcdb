// Cuts a file into passages that can be quoted alone, each with its lines.
import { sentences } from "./words.js";

export type Kind = "markdown" | "text" | "csv" | "json";

export interface Passage {
  readonly title: string;
  readonly text: string;
  /** First and last line, counted from 1. */
  readonly from: number;
  readonly to: number;
}

const longest = 900;

export function split(kind: Kind, text: string): Passage[] {
  const clean = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  return cutters[kind](clean).flatMap(shorten);
}

const cutters: Record<Kind, (text: string) => Passage[]> = { markdown, text: plain, csv, json };

interface Block {
  readonly lines: string[];
  readonly from: number;
}

/** Groups of lines between blank ones. A blank line inside a code fence does not end a block. */
function blocks(lines: readonly string[]): Block[] {
  const found: Block[] = [];
  let open: string[] = [];
  let fenced = false;
  const end = (next: number) => {
    if (open.length > 0) found.push({ lines: open, from: next - open.length + 1 });
    open = [];
  };
  lines.forEach((line, at) => {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced;
    const heading = !fenced && /^#{1,6}\s/.test(line);
    if (heading || (!fenced && line.trim() === "")) end(at);
    if (heading || line.trim() !== "" || fenced) open.push(line);
    if (heading) end(at + 1);
  });
  end(lines.length);
  return found;
}

function markdown(text: string): Passage[] {
  const path: string[] = [];
  const passages: Passage[] = [];
  for (const { lines, from } of blocks(text.split("\n"))) {
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(lines[0] ?? "");
    if (heading?.[1]) {
      path.length = heading[1].length - 1;
      path.push(unmarked(heading[2] ?? ""));
      continue;
    }
    const body = unmarked(lines.join("\n"));
    if (!/[\p{L}\p{N}]/u.test(body)) continue;
    const trail = path.filter(Boolean);
    const title = (trail.length > 1 ? trail.slice(1) : trail).join(" › ");
    passages.push({ title: title || opening(body), text: body, from, to: from + lines.length - 1 });
  }
  return passages;
}

/** The words of a line of Markdown, without its markup. */
function unmarked(line: string): string {
  return line
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/(\*\*|__)(?=\S)(.+?)\1/g, "$2")
    .replace(/(?<![\w*])([*_])(?=\S)([^*_\n]+?)\1(?![\w*])/g, "$2")
    .trim();
}

function plain(text: string): Passage[] {
  const passages: Passage[] = [];
  for (const { lines, from } of blocks(text.split("\n"))) {
    const body = lines.join("\n").trim();
    if (!/[\p{L}\p{N}]/u.test(body)) continue;
    passages.push({ title: opening(body), text: body, from, to: from + lines.length - 1 });
  }
  return passages;
}

/** A title for a text without one: its first sentence, shortened. */
function opening(text: string): string {
  const first = (sentences(text)[0] ?? text).trim().replace(/[.:;,]$/, "");
  return first.length <= 56 ? first : `${first.slice(0, 55).replace(/\s+\S*$/, "")} …`;
}

interface Row {
  readonly cells: string[];
  readonly from: number;
  readonly to: number;
}

function rows(text: string): Row[] {
  const head = text.slice(0, text.indexOf("\n") + 1 || text.length);
  const count = (mark: string) => head.split(mark).length;
  const comma = [",", ";", "\t"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  const found: Row[] = [];
  let cells: string[] = [];
  let cell = "";
  let quoted = false;
  let line = 1;
  let from = 1;
  for (let at = 0; at <= text.length; at++) {
    const sign = text[at];
    if (quoted && sign !== undefined) {
      if (sign === '"' && text[at + 1] === '"') cell += text[++at];
      else if (sign === '"') quoted = false;
      else cell += sign;
    } else if (sign === '"' && cell.trim() === "") {
      quoted = true;
      cell = "";
    } else if (sign === comma) {
      cells.push(cell.trim());
      cell = "";
    } else if (sign === "\n" || sign === undefined) {
      cells.push(cell.trim());
      if (cells.some((value) => value !== "")) found.push({ cells, from, to: line });
      cells = [];
      cell = "";
      from = line + 1;
    } else cell += sign;
    if (sign === "\n") line++;
  }
  return found;
}

/** Rows in small groups, every value beside the name of its column. */
function csv(text: string): Passage[] {
  const [header, ...body] = rows(text);
  if (!header) return [];
  const told = body.map((row) => ({
    ...row,
    text: row.cells
      .map((value, column) => (value === "" ? "" : `${header.cells[column] || `Column ${column + 1}`}: ${value}`))
      .filter(Boolean)
      .join("; "),
  }));
  const passages: Passage[] = [];
  for (let at = 0; at < told.length; ) {
    const group = [told[at++]];
    let size = group[0]?.text.length ?? 0;
    for (let next = told[at]; next && size + next.text.length < 420; next = told[++at]) {
      group.push(next);
      size += next.text.length;
    }
    const kept = group.filter((row) => row !== undefined);
    const [first, last] = [kept[0], kept.at(-1)];
    if (!first || !last) continue;
    const names = kept.map((row) => row.cells.find((value) => value !== "") ?? "");
    const title = names.length > 2 ? `${names[0]} to ${names.at(-1)}` : names.join(", ");
    passages.push({ title, text: kept.map((row) => row.text).join("\n"), from: first.from, to: last.to });
  }
  return passages;
}

interface Entry {
  readonly path: string[];
  readonly value: unknown;
  readonly start: number;
  readonly end: number;
}

/** Throws a SyntaxError for a text that is no JSON. */
function json(text: string): Passage[] {
  JSON.parse(text);
  const breaks = Array.from(text.matchAll(/\n/g), (match) => match.index);
  const lineOf = (at: number) => {
    let [low, high] = [0, breaks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((breaks[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  };
  return entries(text, 0, []).map(({ path, value, start, end }) => {
    const group = path.filter((key) => !/^\d+$/.test(key)).join(" › ");
    const name = label(value);
    return {
      title: [group, name].filter(Boolean).join(" › ") || `Entry ${Number(path.at(-1) ?? 0) + 1}`,
      text: tell(value),
      from: lineOf(start),
      to: lineOf(end - 1),
    };
  });
}

/** The quotable entries: the items of the outer arrays, else the members of the outer object. */
function entries(text: string, at: number, path: string[]): Entry[] {
  const start = skip(text, at);
  const open = text[start];
  const whole = (): Entry[] => {
    const end = valueEnd(text, start);
    return [{ path, value: JSON.parse(text.slice(start, end)), start, end }];
  };
  const inArray = path.some((key) => /^\d+$/.test(key));
  if (inArray || path.length > 3 || (open !== "[" && open !== "{")) return whole();
  const found: Entry[] = [];
  let next = skip(text, start + 1);
  for (let index = 0; text[next] !== "]" && text[next] !== "}"; index++) {
    let key = String(index);
    if (open === "{") {
      const keyEnd = valueEnd(text, next);
      key = JSON.parse(text.slice(next, keyEnd));
      if (/^\d+$/.test(key)) key = `#${key}`;
      next = skip(text, skip(text, keyEnd) + 1);
    }
    found.push(...entries(text, next, [...path, key]));
    next = skip(text, valueEnd(text, next));
    if (text[next] === ",") next = skip(text, next + 1);
  }
  return found;
}

function skip(text: string, at: number): number {
  while (/\s/.test(text[at] ?? "")) at++;
  return at;
}

/** The end of the JSON value that starts here. The text is valid JSON. */
function valueEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const sign = text[at];
    if (sign === '"') {
      for (at++; text[at] !== '"'; at++) if (text[at] === "\\") at++;
    } else if (sign === "[" || sign === "{") depth++;
    else if (sign === "]" || sign === "}") depth--;
    else if (depth === 0 && !/[,\]}\s]/.test(text[at + 1] ?? ",")) continue;
    if (depth === 0) return at + 1;
  }
  return text.length;
}

function label(value: unknown): string {
  if (typeof value !== "object" || value === null) return "";
  const members: [string, unknown][] = Object.entries(value);
  const named =
    members.find(([key]) => /^(name|title|label|id|key)$/i.test(key)) ?? members.find(([, v]) => typeof v === "string");
  return named && ["string", "number"].includes(typeof named[1]) ? String(named[1]).slice(0, 56) : "";
}

/** A JSON value as a text to read aloud. */
function tell(value: unknown): string {
  if (Array.isArray(value)) return value.map(tell).join(", ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([key, inner]) => `${spaced(key)}: ${tell(inner)}`)
    .join("; ");
}

function spaced(key: string): string {
  const apart = key.replace(/(?<=[a-z0-9])(?=[A-Z])|[_-]+/g, " ").toLowerCase();
  return apart.charAt(0).toUpperCase() + apart.slice(1);
}

/** Splits a passage that is too long to quote, between sentences or, without any, between words. */
function shorten(passage: Passage): Passage[] {
  if (passage.text.length <= longest) return [passage];
  const pieces = sentences(passage.text).flatMap((piece) =>
    piece.length <= longest ? [piece] : (piece.match(new RegExp(`[^]{1,${longest}}(?:\\s|$)|[^]{1,${longest}}`, "g")) ?? [piece]),
  );
  const parts: string[] = [];
  for (const piece of pieces) {
    const last = parts.at(-1);
    if (last === undefined || last.length + piece.length > longest) parts.push(piece);
    else parts[parts.length - 1] = last + piece;
  }
  let from = passage.from;
  return parts.map((part, at) => {
    const start = from;
    from = Math.min(passage.to, from + (part.match(/\n/g)?.length ?? 0));
    const to = at === parts.length - 1 ? passage.to : part.endsWith("\n") ? Math.max(start, from - 1) : from;
    return { title: passage.title, text: part.trim(), from: start, to };
  });
}
