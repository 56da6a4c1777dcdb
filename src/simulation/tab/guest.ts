import type { ErrorCode } from "../../domain/errors.js";
import type { Timings } from "../../domain/time.js";
import type { AgentRegistration } from "../../kernel/host/agents.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { SessionRuntime } from "../../kernel/session/session.js";
import type { Ledger } from "../judge/ledger.js";
import type { Life } from "../machine/machine.js";
import { type Handlers, openHost, type Wiring } from "./host.js";

/** A kernel that is open on a host, and what the app there has of it. */
export interface Guest {
  readonly life: Life;
  readonly kernel: Kernel;
  readonly ledger: Ledger;
  readonly sessions: Map<string, SessionRuntime>;
  readonly agents: Map<string, AgentRegistration>;
  /** Agents that it is registering right now. */
  readonly enrolling: string[];
}

interface GuestParts {
  readonly life: Life;
  readonly ledger: Ledger;
  readonly wiring: Wiring;
  readonly timings: Timings;
  readonly handlers: Handlers;
  log(who: string, what: string): void;
  complain(rule: "holdfast does not break", what: string): void;
}

/** A kernel that tells one of these is broken, whatever fault struck it; but not where it tells what the app's own code threw. */
const BROKEN: ReadonlySet<ErrorCode> = new Set(["internal", "invalid", "version", "unsupported"]);

export async function openGuest(parts: GuestParts): Promise<Guest> {
  const { life, ledger, wiring, timings, handlers } = parts;
  const kernel = await openHost(life, wiring, timings, handlers);
  kernel.on("fault", ({ area, code, message }) => {
    parts.log(life.name, `tells of a fault in ${area}: ${code}: ${message}`);
    if (BROKEN.has(code) && area !== "handler" && area !== "turn")
      parts.complain("holdfast does not break", `${life.name}: ${area}: ${code}: ${message}`);
  });
  return { life, kernel, ledger, sessions: new Map(), agents: new Map(), enrolling: [] };
}
