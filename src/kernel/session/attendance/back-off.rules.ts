/** The back-off from sessions that were due and had no turn to begin, or could not be opened: each one in a row is twice as long. */
interface BackOff {
  lasts(id: string, nowMs: number): boolean;
  /** `revision`: the session's input revision, as it was read last. */
  begin(id: string, nowMs: number, revision: number): void;
  /** An input of the session was written with this revision: a newer one ends the back-off. */
  hear(id: string, revision: number): void;
  end(id: string): void;
}

/** The longest one, in polls. */
const LONGEST = 64;
/** Over this number the oldest are forgotten. */
const MOST = 1_024;

export function createBackOff(pollMs: number): BackOff {
  const known = new Map<string, { readonly untilMs: number; readonly polls: number; readonly revision: number }>();
  return {
    lasts: (id, nowMs) => nowMs < (known.get(id)?.untilMs ?? nowMs),
    begin(id, nowMs, revision) {
      const last = known.get(id);
      // After a time as long as the last one without another, that is forgotten.
      const isInRow = last !== undefined && nowMs < last.untilMs + last.polls * pollMs;
      const polls = isInRow ? Math.min(last.polls * 2, LONGEST) : 1;
      known.delete(id);
      known.set(id, { untilMs: nowMs + polls * pollMs, polls, revision });
      if (known.size > MOST) known.delete(known.keys().next().value as string);
    },
    hear(id, revision) {
      if (revision > (known.get(id)?.revision ?? revision)) known.delete(id);
    },
    end: (id) => void known.delete(id),
  };
}
