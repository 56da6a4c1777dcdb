/** Pauses of sessions that were due and had no turn to begin, or could not be opened: each one in a row is twice as long. */
export interface Pauses {
  lasts(id: string, nowMs: number): boolean;
  begin(id: string, nowMs: number): void;
  end(id: string): void;
}

/** The longest pause, in polls. */
const LONGEST = 64;
/** The oldest pauses are forgotten over this number. */
const MOST = 1_024;

export function createPauses(pollMs: number): Pauses {
  const pauses = new Map<string, { readonly untilMs: number; readonly polls: number }>();
  return {
    lasts: (id, nowMs) => nowMs < (pauses.get(id)?.untilMs ?? nowMs),
    begin(id, nowMs) {
      const last = pauses.get(id);
      // After a time as long as the pause without another one, the first is forgotten.
      const isInRow = last !== undefined && nowMs < last.untilMs + last.polls * pollMs;
      const polls = isInRow ? Math.min(last.polls * 2, LONGEST) : 1;
      pauses.delete(id);
      pauses.set(id, { untilMs: nowMs + polls * pollMs, polls });
      if (pauses.size > MOST) pauses.delete(pauses.keys().next().value as string);
    },
    end: (id) => void pauses.delete(id),
  };
}
