import type { Boundary, InputKind, PersistedInput, PolicyDecision, RuntimeSemantics } from "../../../domain/session/input.js";

/** The lane of an input: the queue, or the lane that goes before it. A submission may choose it. */
export type HandlingMode = "queue" | "steer";

const VERSION = 1;

type Wake = PolicyDecision["wakeMode"];

interface PolicyRule {
  readonly apply: PolicyDecision["applyMode"];
  readonly wake: { readonly idle: Wake; readonly busy: Wake };
  readonly queue: PolicyDecision["queueMode"];
  readonly lane: HandlingMode | "drop";
  readonly transcript: boolean;
}

const RUN_START: PolicyRule = {
  apply: "stage_run_start",
  wake: { idle: "wake_if_idle", busy: "none" },
  queue: "fifo",
  lane: "queue",
  transcript: true,
};

const PEER: PolicyRule = { ...RUN_START, wake: { idle: "wake_if_idle", busy: "wake_if_idle" } };

const POLICY_RULES: Readonly<Record<InputKind, PolicyRule>> = {
  prompt: RUN_START,
  flow_step: RUN_START,
  external_event: RUN_START,
  peer_message: PEER,
  peer_request: PEER,
  peer_response_terminal: PEER,
  peer_response_progress: {
    apply: "stage_run_boundary",
    wake: { idle: "none", busy: "none" },
    queue: "coalesce",
    lane: "steer",
    transcript: true,
  },
  continuation: {
    apply: "stage_run_boundary",
    wake: { idle: "wake_if_idle", busy: "interrupt_yielding" },
    queue: "fifo",
    lane: "steer",
    transcript: false,
  },
  operation: {
    apply: "ignore",
    wake: { idle: "none", busy: "none" },
    queue: "priority",
    lane: "drop",
    transcript: false,
  },
};

interface PolicyQuestion {
  readonly kind: InputKind;
  readonly idle: boolean;
  readonly handlingMode?: HandlingMode;
  /** A request whose intent the session treats as silent: it starts no run. */
  readonly silent?: boolean;
}

/**
 * How an input is handled, by its kind and by whether the runtime is idle. A session may have a policy of its own, which is asked first.
 */
export function builtInPolicy({ kind, idle, handlingMode, silent }: PolicyQuestion): PolicyDecision {
  const rule = overridden(kind, handlingMode);
  return {
    applyMode: rule.apply,
    wakeMode: silent ? "none" : rule.wake[idle ? "idle" : "busy"],
    queueMode: rule.queue,
    consumePoint: rule.apply === "ignore" ? "on_accept" : "on_run_complete",
    drainPolicy: rule.lane === "drop" ? "ignore" : rule.lane === "steer" ? "steer_batch" : "queue_next_turn",
    routingDisposition: rule.lane,
    recordTranscript: rule.transcript,
    emitOperatorContent: rule.transcript,
    policyVersion: VERSION,
  };
}

function overridden(kind: InputKind, mode: HandlingMode | undefined): PolicyRule {
  const rule = POLICY_RULES[kind];
  if (mode === undefined || kind === "peer_response_progress" || kind === "operation") return rule;
  if (mode === "queue") {
    const busy = kind === "peer_response_terminal" ? "wake_if_idle" : "none";
    return { ...rule, apply: "stage_run_start", wake: { idle: "wake_if_idle", busy }, lane: "queue" };
  }
  const apply = kind === "peer_response_terminal" ? "stage_run_start" : "stage_run_boundary";
  return { ...rule, apply, wake: { idle: "wake_if_idle", busy: "interrupt_yielding" }, lane: "steer" };
}

const BOUNDARY_OF: Readonly<Record<PolicyDecision["applyMode"], Boundary>> = {
  stage_run_start: "run_start",
  stage_run_boundary: "run_checkpoint",
  inject_now: "immediate",
  ignore: "run_start",
};

export function semanticsOf(kind: InputKind, decision: PolicyDecision): RuntimeSemantics {
  return {
    boundary: BOUNDARY_OF[decision.applyMode],
    executionKind: kind === "continuation" ? "resume_pending" : "content_turn",
    ...(kind === "peer_response_terminal" && { peerResponseTerminalApplyIntent: "append_context_and_run" as const }),
  };
}

export function laneOf({ routingDisposition }: PolicyDecision): HandlingMode {
  return routingDisposition === "steer" || routingDisposition === "immediate" ? "steer" : "queue";
}

/** Whether the input is consumed as soon as it is accepted: it waits in no lane and starts no run. */
export function isConsumedOnAccept({ applyMode, consumePoint }: PolicyDecision): boolean {
  return applyMode === "ignore" && consumePoint === "on_accept";
}

/** Whether such an input begins a run by itself. The decision must be the one for an idle runtime. */
export function startsRun(whenIdle: PolicyDecision): boolean {
  return whenIdle.wakeMode !== "none" || whenIdle.drainPolicy === "immediate";
}

const PEER_KIND: Readonly<Record<string, InputKind>> = {
  message: "peer_message",
  request: "peer_request",
  response_progress: "peer_response_progress",
  response_terminal: "peer_response_terminal",
};

/** The kind of an input. A peer's input without a convention is a message. `undefined` for an unknown convention. */
export function kindOf(input: PersistedInput): InputKind | undefined {
  if (input.inputType !== "peer") return input.inputType;
  if (input.convention === undefined) return "peer_message";
  const convention = input.convention;
  const type =
    typeof convention === "object" && convention !== null && !Array.isArray(convention) ? convention.conventionType : convention;
  return typeof type === "string" && Object.hasOwn(PEER_KIND, type) ? PEER_KIND[type] : undefined;
}
