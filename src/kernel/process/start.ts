import type { Corridor } from "../../corridor/command.js";
import { membersOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { ProcessHandleDescriptor, ProcessInput, ProcessProvenance, ProcessRecord } from "../../domain/process/process.js";
import { checkScope, type ProcessScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { PayloadSchemas } from "../../stores/process/payload-schema.js";
import { type RegisterProcess, registerProcess } from "../../stores/process/processes.js";
import { checkDescriptor, prepareRegistration } from "../../stores/process/registration.js";

export interface StartRequest {
  /** Default: a new UUIDv7. A second call with the same id and content returns the same process. */
  id?: string;
  input: ProcessInput;
  eventTypes?: ProcessEventType[];
  provenance?: ProcessProvenance;
  /** Makes the process visible to a scope, in the same transaction. */
  grant?: { scope: ProcessScope; descriptor?: ProcessHandleDescriptor };
  /** For `context.start` alone: the child is cancelled in the write that ends its parent, if it still runs, wherever that is. */
  endWith?: "parent";
}

export interface StartParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly schemas: PayloadSchemas;
  /** `undefined` until it is loaded: until then the loops claim started processes. */
  headStart(): { register(register: RegisterProcess): Promise<ProcessRecord> } | undefined;
  newProcessId(): string;
}

/** What a parent's context sets for its child. */
interface Child {
  readonly id: string;
  /** Given where the default id does not contain the key unchanged. */
  readonly key?: string;
  readonly parentId: string;
  readonly ownerScope: ProcessScope;
  readonly hostProfileId: string;
  readonly lease: ProcessLease;
}

/** Registers and grants in one transaction, and claims in it if this host can run the process at once. Else the notice tells the loops. */
export async function startProcess(
  { corridor, limits, schemas, headStart, newProcessId }: StartParts,
  request: StartRequest,
  child?: Child,
): Promise<ProcessRecord> {
  const names = ["id", "input", "eventTypes", "provenance", "grant", "endWith"] as const;
  const { grant: givenGrant, endWith, ...m } = membersOf("request", request, names);
  const endsWithParent = endWith !== undefined;
  if (endsWithParent && (endWith !== "parent" || !child))
    throw invalid('request.endWith must be "parent", in context.start alone');
  const id = m.id === undefined ? (child?.id ?? newProcessId()) : m.id;
  const provenance = child ? provenanceOf(child, m.id === undefined) : m.provenance;
  const registration = await prepareRegistration("request", { ...m, id, provenance }, limits, schemas);
  const grant = givenGrant === undefined ? undefined : membersOf("request.grant", givenGrant, ["scope", "descriptor"]);
  const input: RegisterProcess = {
    registration,
    ...(grant && {
      grant: {
        scope: checkScope("request.grant.scope", grant.scope, limits.idLength),
        descriptor: checkDescriptor("request.grant.descriptor", grant.descriptor, limits),
      },
    }),
    ...(child && { lease: child.lease, ...(endsWithParent && { endsWithParent }) }),
  };
  return (await headStart()?.register(input)) ?? (await corridor.run(registerProcess, input, { size: registration.size }));
}

function provenanceOf({ key, parentId, ownerScope, hostProfileId }: Child, hasDefaultId: boolean): ProcessProvenance {
  const causedBy = { type: "process" as const, processId: parentId, ...(hasDefaultId && key !== undefined && { key }) };
  return { ownerScope, hostProfileId, causedBy };
}
