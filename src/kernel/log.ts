import type { Fault } from "./host/loop-contract.js";
import type { KernelOptions } from "./options.js";

type Log = Exclude<KernelOptions["log"], false | undefined>;
type LogEntry = Parameters<Log>[0];

/**
 * The faults that are logged: what an app's developer has to mend. Trouble of the storage is told and not logged, since it is told again
 * until it is over.
 */
const LEVELS: Readonly<Partial<Record<string, LogEntry["level"]>>> = {
  handler: "error",
  turn: "error",
  listener: "error",
  handlers: "warn",
  steps: "warn",
  signals: "warn",
  worker: "warn",
};

/** The console is looked up at each entry: an app may replace it. */
const toConsole: Log = ({ level, message, error }) => console[level](message, ...(error === undefined ? [] : [error]));

export function logFaults(log: KernelOptions["log"] = toConsole): (fault: Fault) => void {
  return ({ area, message, processId, sessionId, error }) => {
    const level = LEVELS[area];
    if (!log || !level) return;
    const place = processId ? `process "${processId}": ` : sessionId ? `session "${sessionId}": ` : "";
    const entry: LogEntry = { level, message: `holdfast: ${place}${message}`, ...(error !== undefined && { error }) };
    try {
      const answer: unknown = log(entry);
      if (answer instanceof Promise) answer.catch(() => undefined);
    } catch {
      // There is no place left to tell of it.
    }
  };
}
