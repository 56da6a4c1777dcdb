export type { View } from "./corridor/view.js";
export type { ErrorCode } from "./domain/errors.js";
export { HoldfastError, isHoldfastError, NonRetryableError } from "./domain/errors.js";
export type { AgentRecord } from "./domain/host/agent.js";
export type { JsonValue } from "./domain/json.js";
export type { ProcessLease, ProcessLeaseCompletion } from "./domain/lease.js";
export type {
  ProcessEvent,
  ProcessEventAppendRequest,
  ProcessEventAppendResult,
  ProcessEventInvocation,
  ProcessEventSemantics,
  ProcessWakeDelivery,
} from "./domain/process/event.js";
export type {
  JsonSchema,
  ProcessEventType,
  TerminalSpec,
  TerminalState,
  ValueSelector,
  WakeSpec,
} from "./domain/process/event-type.js";
export type { LimitSpec, RateSpec } from "./domain/process/limit.js";
export type {
  CausalRef,
  ProcessAwaitOutput,
  ProcessExternalRef,
  ProcessHandleDescriptor,
  ProcessHandleGrant,
  ProcessHandleGrantEntry,
  ProcessInput,
  ProcessProgress,
  ProcessProvenance,
  ProcessRecord,
  ProcessRegistration,
  ProcessSessionDeleteReport,
  ProcessState,
  ProcessStatus,
} from "./domain/process/process.js";
export type { ScheduleRecord, ScheduleSpec, ScheduleStart, ScheduleWhen } from "./domain/process/schedule.js";
export type { ProcessAttempts, ProcessWait } from "./domain/process/wait.js";
export type { RetryPolicy } from "./domain/retry.rules.js";
export type { ProcessScope } from "./domain/scope.js";
export type {
  AbandonReason,
  Boundary,
  InputDurability,
  InputKind,
  InputOutcome,
  InputOutcomeReport,
  InputPhase,
  InputTransition,
  InputType,
  PersistedInput,
  PolicyDecision,
  RuntimeSemantics,
  StoredInputState,
} from "./domain/session/input.js";
export type { MachineLifecycleCommit } from "./domain/session/lifecycle-commit.js";
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
} from "./domain/session/ops.js";
export type { OpsOptions } from "./domain/session/ops-options.js";
export type { GivenMessage, Message, RunBoundaryReceipt, RuntimeState, SessionDelta } from "./domain/session/session.js";
export type { Limits, Timings } from "./domain/time.js";
export type { AuthTarget } from "./domain/vault/auth-target.js";
export { deleteKernelData } from "./inline-platform.js";
export type { KernelEvents } from "./kernel/emitter.js";
export type { AgentRegistration } from "./kernel/host/agents.js";
export type { HostRecord } from "./kernel/host/host-list.js";
export type { Random } from "./kernel/host/ids.js";
export type { LifecycleStore } from "./kernel/host/lifecycle.js";
export type { Fault, SweepReport } from "./kernel/host/loop-contract.js";
export type { Kernel } from "./kernel/kernel.js";
export type { KernelOptions } from "./kernel/options.js";
export type { ProcessContext, ProcessHandler, ProcessHandlerWithTerms } from "./kernel/process/context/context.js";
export type { StepRun } from "./kernel/process/context/step.js";
export type { StepOptions } from "./kernel/process/context/step-tries.js";
export type { ReceivedSignal } from "./kernel/process/context/waits.js";
export { defineProcess, typed } from "./kernel/process/definition/define.js";
export type {
  EventsOf,
  InputOf,
  MadeOf,
  NamesOf,
  NoSchemas,
  OutputOf,
  PayloadOf,
  ProcessDefinition,
  Schemas,
  SignalsOf,
} from "./kernel/process/definition/definition.js";
export type { Json } from "./kernel/process/definition/stored-json.js";
export type { HandleOf, ProcessHandle, SignalArguments, SignalOptions } from "./kernel/process/handle.js";
export type { ProcessRegistry } from "./kernel/process/registry.js";
export type { KernelSchedules } from "./kernel/process/schedules/kernel-schedules.js";
export type { StartOptions, StartOptionsOf, StartRequest } from "./kernel/process/start-request.js";
export type { RuntimeStore } from "./kernel/runtime-store.js";
export type { KernelSessions } from "./kernel/session/archive.js";
export type { SessionEvent } from "./kernel/session/events.js";
export type { InputReads } from "./kernel/session/inputs/input-reads.js";
export type { OperationSnapshot, OpsRegistry } from "./kernel/session/operations.js";
export type { SessionOptions, SessionRuntime } from "./kernel/session/session.js";
export type { SessionChange } from "./kernel/session/session-changes.js";
export type { AnyTurnHandler, Turn, TurnHandler } from "./kernel/session/turn.js";
export type { KernelViews } from "./kernel/session/view/kernel-views.js";
export type { SessionRun, SessionView, ViewMessage } from "./kernel/session/view/session-view.rules.js";
export type { KernelStatus } from "./kernel/status.js";
export type { DevicePoll, OAuthFlows } from "./kernel/vault/oauth-flows.js";
export type { Secrets } from "./kernel/vault/secrets.js";
export { createKernel } from "./platform.js";
export type { Clock } from "./ports/clock.js";
export type { Locks } from "./ports/locks.js";
export type { ChannelFactory } from "./ports/notices.js";
export type { KeyStore } from "./ports/seal.js";
export type {
  ColumnType,
  Durability,
  KernelStorage,
  Key,
  Lift,
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
export type { LivenessStore } from "./stores/host/liveness.js";
export { noopLivenessStore } from "./stores/host/liveness.js";
export type { Retention } from "./stores/host/retention.js";
export type { ProcessFilter } from "./stores/process/processes.js";
export type { AcceptOutcome } from "./stores/session/admission.js";
export type { SessionSummary } from "./stores/session/archive.js";
export type { RecoveryReport } from "./stores/session/draft.js";
export type { HandlingMode } from "./stores/session/inputs/policy.rules.js";
export type { InputSubmission, PromptSubmission, SubmissionHeader } from "./stores/session/inputs/submission.js";
