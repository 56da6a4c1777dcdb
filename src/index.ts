export type { AgentRecord } from "./domain/agent.js";
export type { AuthTarget } from "./domain/auth-target.js";
export type { ErrorCode } from "./domain/errors.js";
export { HoldfastError, isHoldfastError } from "./domain/errors.js";
export type {
  ProcessEvent,
  ProcessEventAppendRequest,
  ProcessEventAppendResult,
  ProcessEventInvocation,
  ProcessWakeDelivery,
} from "./domain/event.js";
export type { JsonSchema, ProcessEventType, TerminalSpec, ValueSelector, WakeSpec } from "./domain/event-type.js";
export type {
  AbandonReason,
  Boundary,
  InputDurability,
  InputKind,
  InputOutcome,
  InputPhase,
  InputTransition,
  InputType,
  PersistedInput,
  PolicyDecision,
  RuntimeSemantics,
  StoredInputState,
} from "./domain/input.js";
export type { JsonValue } from "./domain/json.js";
export type { ProcessLease, ProcessLeaseCompletion } from "./domain/lease.js";
export type { MachineLifecycleCommit } from "./domain/lifecycle-commit.js";
export type {
  CompletionEntry,
  OperationKind,
  OperationOutcome,
  OperationResult,
  OperationSpec,
  OperationStatus,
  PersistedOperation,
  PersistedOpsSnapshot,
  PersistedOutcome,
  StoredOperationSpec,
} from "./domain/ops.js";
export type { OpsOptions } from "./domain/ops-options.js";
export type {
  CausalRef,
  ProcessAwaitOutput,
  ProcessExternalRef,
  ProcessHandleDescriptor,
  ProcessHandleGrant,
  ProcessHandleGrantEntry,
  ProcessInput,
  ProcessProvenance,
  ProcessRecord,
  ProcessRegistration,
  ProcessSessionDeleteReport,
  ProcessStatus,
} from "./domain/process.js";
export type { ProcessScope } from "./domain/scope.js";
export type { Message, RunBoundaryReceipt, RuntimeState, SessionDelta } from "./domain/session.js";
export type { Limits, Timings } from "./domain/time.js";
export type { AgentRegistration } from "./kernel/agents.js";
export type { ProcessContext, StepRun } from "./kernel/context.js";
export type { KernelEvents } from "./kernel/emitter.js";
export type { HostRecord } from "./kernel/hosts.js";
export type { Kernel } from "./kernel/kernel.js";
export type { LifecycleStore } from "./kernel/lifecycle.js";
export type { DevicePoll, OAuthFlows } from "./kernel/oauth-flows.js";
export type { OperationSnapshot, OpsRegistry } from "./kernel/ops-registry.js";
export type { KernelOptions } from "./kernel/options.js";
export type { ProcessRegistry } from "./kernel/registry.js";
export type { ProcessHandler } from "./kernel/runner.js";
export type { RuntimeStore } from "./kernel/runtime-store.js";
export type { Secrets } from "./kernel/secrets.js";
export type { SessionChange, SessionOptions, SessionRuntime } from "./kernel/session.js";
export type { KernelSessions } from "./kernel/session-archive.js";
export type { SessionEvent } from "./kernel/session-event.js";
export type { StartRequest } from "./kernel/start.js";
export type { KernelStatus } from "./kernel/status.js";
export type { Turn, TurnHandler } from "./kernel/turn.js";
export type { ProcessHandle } from "./kernel/waits.js";
export { createKernel } from "./platform.js";
export type { Clock } from "./ports/clock.js";
export type { Locks } from "./ports/locks.js";
export type { ChannelFactory } from "./ports/notices.js";
export type {
  Durability,
  KernelStorage,
  Key,
  OpenStorage,
  Query,
  Reader,
  Row,
  StorageOpening,
  StorageSchema,
  StorageState,
  TableSchema,
  Transaction,
  Write,
} from "./ports/storage.js";
export type { AcceptOutcome } from "./stores/admission.js";
export type { LivenessStore } from "./stores/liveness.js";
export { noopLivenessStore } from "./stores/liveness.js";
export type { Retention } from "./stores/retention.js";
export type { SessionSummary } from "./stores/session-archive.js";
export type { RecoveryReport } from "./stores/session-draft.js";
export type { InputSubmission, SubmissionHeader } from "./stores/submission.js";
