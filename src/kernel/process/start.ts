import type { Corridor } from "../../corridor/command.js";
import { guarded } from "../../domain/admit.js";
import { argumentOf } from "../../domain/argument.js";
import { checkWhole, membersOf, optionsOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { ProcessProvenance, ProcessRecord } from "../../domain/process/process.js";
import { checkScope, type ProcessScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { PayloadSchemas } from "../../stores/process/payload-schema.js";
import { type RegisterProcess, registerProcess } from "../../stores/process/processes.js";
import { checkDescriptor, prepareRegistration } from "../../stores/process/registration.js";
import type { Lazy } from "../lazy.js";
import type { Runnable } from "./definition/define.js";
import type { RunSchemas, SchemasInRun } from "./definition/run-schemas.js";
import type { StartArguments } from "./start-request.js";

export interface StartParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly schemas: PayloadSchemas;
  /** What this host runs, by name. */
  readonly handlers: ReadonlyMap<string, Runnable>;
  /** `undefined` until it is loaded: until then the loops claim started processes. */
  headStart(): { register(register: RegisterProcess): Promise<ProcessRecord> } | undefined;
  newProcessId(): string;
  readonly definitions: Lazy<DefinitionCode>;
}

/** The code for definitions. A page that starts and runs none does not load it. */
interface DefinitionCode {
  /** Starts what a definition or a name describes. */
  startDefined(parts: StartParts, what: unknown, options: unknown, child: Child | undefined): Promise<ProcessRecord>;
  /** What the schemas of a definition do in a run of it. */
  schemasInRun(schemas: RunSchemas): SchemasInRun;
}

/** What a parent's context sets for its child. */
export interface Child {
  readonly id: string;
  /** Given where the default id does not contain the key unchanged. */
  readonly key?: string;
  readonly parentId: string;
  readonly ownerScope: ProcessScope;
  readonly hostProfileId: string;
  readonly lease: ProcessLease;
}

export async function startProcess(
  parts: StartParts,
  [what, options = {}]: StartArguments,
  child?: Child,
): Promise<ProcessRecord> {
  const isDefined =
    typeof what === "string" || guarded("definition", () => typeof what === "object" && what !== null && "run" in what);
  if (!isDefined) {
    optionsOf("a start of a request", options, []);
    return await registerStart(parts, await prepareStart(parts, "request", what as object, child));
  }
  const given = argumentOf(options);
  return await (await parts.definitions.load()).startDefined(parts, what, given, child);
}

/** Registers and grants in one transaction, and claims in it if this host can run the process at once. Else the notice tells the loops. */
export async function registerStart({ headStart, corridor }: StartParts, registering: RegisterProcess): Promise<ProcessRecord> {
  const { size } = registering.registration;
  return (await headStart()?.register(registering)) ?? (await corridor.run(registerProcess, registering, { size }));
}

export async function prepareStart(
  { limits, schemas, newProcessId }: StartParts,
  field: string,
  request: object,
  child: Child | undefined,
): Promise<RegisterProcess> {
  const names = ["id", "input", "eventTypes", "provenance", "grant", "endWith", "startAtMs"] as const;
  const { grant: givenGrant, endWith, startAtMs: givenStart, ...m } = membersOf(field, request, names);
  const endsWithParent = endWith !== undefined;
  if (endsWithParent && (endWith !== "parent" || !child))
    throw invalid(`${field}.endWith must be "parent", in context.start alone`);
  const id = m.id === undefined ? (child?.id ?? newProcessId()) : m.id;
  const provenance = child ? provenanceOf(child, m.id === undefined) : m.provenance;
  const given = givenGrant === undefined ? undefined : membersOf(`${field}.grant`, givenGrant, ["scope", "descriptor"]);
  const grant = given && {
    scope: checkScope(`${field}.grant.scope`, given.scope, limits.idLength),
    descriptor: checkDescriptor(`${field}.grant.descriptor`, given.descriptor, limits),
  };
  const registration = await prepareRegistration(field, { ...m, id, provenance }, limits, schemas);
  if (givenStart !== undefined && registration.input.type === "external")
    throw invalid(`${field}.startAtMs is not for external work, which no host runs`);
  const startAtMs = givenStart === undefined ? undefined : checkWhole(`${field}.startAtMs`, givenStart, 0);
  const parent = child && { lease: child.lease, ...(endsWithParent && { endsWithParent }) };
  return { registration, ...(grant && { grant }), ...(startAtMs !== undefined && { startAtMs }), ...parent };
}

function provenanceOf({ key, parentId, ownerScope, hostProfileId }: Child, hasDefaultId: boolean): ProcessProvenance {
  const causedBy = { type: "process" as const, processId: parentId, ...(hasDefaultId && key !== undefined && { key }) };
  return { ownerScope, hostProfileId, causedBy };
}
