import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { ProcessHandleDescriptor, ProcessInput, ProcessProvenance } from "../../domain/process/process.js";
import type { ProcessScope } from "../../domain/scope.js";
import type { InputOf } from "./definition/definition.js";

/** A process that is described in full, for what no definition describes: tool calls, turns, external work, declared event types. */
export interface StartRequest {
  /** Default: a new UUIDv7. A second call with the same id and content returns the same process. */
  id?: string;
  input: ProcessInput<unknown>;
  eventTypes?: ProcessEventType[];
  provenance?: ProcessProvenance;
  /** Makes the process visible to a scope, in the same transaction. */
  grant?: { scope: ProcessScope; descriptor?: ProcessHandleDescriptor };
  /** For `context.start` alone: the child is cancelled in the write that ends its parent, if it still runs, wherever that is. */
  endWith?: "parent";
  /**
   * No host runs it before: epoch milliseconds, a whole number. A time that has passed changes nothing. Not for external work, which no host
   * runs. A second start of an id changes no time: that of the first counts.
   */
  startAtMs?: number;
}

/** How a process of a definition or name is started. */
export interface StartOptions {
  /** Default: a new UUIDv7. A second start of an id gives the same process, if its name is the same and its schema makes the same of both inputs. */
  id?: string;
  /** Given to the handler as `context.args`. Stored as JSON, as it was given. */
  input?: unknown;
  /** In a handler's context it is that of its children, whatever is given. */
  provenance?: ProcessProvenance;
  /** Makes the process visible to a scope, in the same transaction. */
  grant?: { scope: ProcessScope; descriptor?: ProcessHandleDescriptor };
  /** For `context.start` alone: the child is cancelled in the write that ends its parent, if it still runs, wherever that is. */
  endWith?: "parent";
  /**
   * No host runs it before: epoch milliseconds, a whole number. A time that has passed changes nothing. Not for external work, which no host
   * runs. A second start of an id changes no time: that of the first counts.
   */
  startAtMs?: number;
}

/** The options of a start of `D`: `input` must be given unless the definition takes `undefined`. */
export type StartOptionsOf<D> =
  undefined extends InputOf<D>
    ? [options?: Omit<StartOptions, "input"> & { input?: InputOf<D> }]
    : [options: Omit<StartOptions, "input"> & { input: InputOf<D> }];

/** The arguments of a start: a definition or a name with options, or a request. */
export type StartArguments = readonly [what: unknown, options?: unknown];
