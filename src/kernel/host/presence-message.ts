/** What presence tables say to one another. All parts but the head are optional. */
export interface PresenceMessage {
  readonly v: typeof VERSION;
  readonly of: string;
  readonly from: string;
  /** When it was sent, in wall time: it may have waited in a page that slept. */
  readonly atMs: number;
  readonly boot?: string;
  readonly beat?: { readonly seenAtMs: number; readonly ttlMs: number };
  readonly joined?: readonly string[];
  readonly left?: readonly string[];
  readonly touched?: readonly (readonly [id: string, ttlMs: number])[];
  readonly forgotten?: readonly string[];
  readonly asks?: true;
  /** The last part of an answer. */
  readonly answers?: true;
}

export type Said = Omit<PresenceMessage, "v" | "of" | "from" | "atMs">;

export const VERSION = 1;
/** The most ids in one message. */
const MOST_IDS = 4_096;
export const LONGEST_ID = 1_024;

/** Splits a list into as many messages as it takes. */
export function chunks<T>(list: readonly T[]): (readonly T[])[] {
  const count = Math.ceil(list.length / MOST_IDS);
  return Array.from({ length: count }, (_, at) => list.slice(at * MOST_IDS, (at + 1) * MOST_IDS));
}

/** A message is taken whole or not at all. */
export function presenceMessageOf(data: unknown, databaseId: string): PresenceMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const m = data as Record<keyof PresenceMessage, unknown>;
  if (m.v !== VERSION || m.of !== databaseId || !isId(m.from) || !isTime(m.atMs)) return undefined;
  const { boot, beat, asks, answers } = m;
  if (boot !== undefined && !isId(boot)) return undefined;
  if (beat !== undefined && !(isBeat(beat) && boot !== undefined)) return undefined;
  for (const ids of [m.joined, m.left, m.forgotten]) if (ids !== undefined && !isListOf(ids, isId)) return undefined;
  if (m.touched !== undefined && !isListOf(m.touched, isTouch)) return undefined;
  if ((asks !== undefined && asks !== true) || (answers !== undefined && answers !== true)) return undefined;
  return data as PresenceMessage;
}

export const isId = (value: unknown): value is string => typeof value === "string" && value !== "" && value.length <= LONGEST_ID;
const isTime = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isTtl = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value) && value > 0;
const isTouch = (value: unknown): boolean => Array.isArray(value) && value.length === 2 && isId(value[0]) && isTtl(value[1]);
/** Checks a copy without holes, which `every` would pass over. */
const isListOf = (value: unknown, isOne: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.length <= MOST_IDS && Array.from(value).every(isOne);

function isBeat(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { seenAtMs, ttlMs } = value as Record<string, unknown>;
  return isTime(seenAtMs) && isTtl(ttlMs);
}
