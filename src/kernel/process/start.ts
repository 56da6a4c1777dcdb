import type { Corridor } from "../../corridor/command.js";
import { guarded } from "../../domain/admit.js";
import { checkId, membersOf } from "../../domain/check.js";
import { isHoldfastError } from "../../domain/errors.js";
import { canonicalText, type JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { ProcessInput, ProcessProvenance, ProcessRecord } from "../../domain/process/process.js";
import { checkScope, type ProcessScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { PayloadSchemas } from "../../stores/process/payload-schema.js";
import { loadProcess, type RegisterProcess, registerProcess } from "../../stores/process/processes.js";
import { admitPayload, checkDescriptor, prepareRegistration } from "../../stores/process/registration.js";
import { checkDefinition, type Runnable } from "./definition/define.js";
import { isSameValue } from "./definition/same-value.rules.js";
import { judgeBy, madeOf } from "./definition/schema-verdict.js";
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
  parts: StartParts,
  [what, options = {}]: StartArguments,
  child?: Child,
): Promise<ProcessRecord> {
  const { corridor, limits, headStart } = parts;
  const started = startedOf(parts, what);
  if (!started) return await register(await prepareStart(parts, "request", what as object, child));

  const { name, input: schema, events } = started;
  const m = membersOf("options", options, ["id", "input", "provenance", "grant"]);
  const args = m.input === undefined ? undefined : admitPayload(m.input, "options.input", limits);
  const input: ProcessInput = { type: "task", name, ...(args !== undefined && { args }) };
  const eventTypes = Object.keys(events ?? {}).map((eventType) => ({ name: eventType }));
  const prepared = await prepareStart(parts, "options", { ...m, input, eventTypes }, child);
  const made = await madeOf("options.input", schema, args);
  return await registerAlike(prepared);

  async function register(registering: RegisterProcess): Promise<ProcessRecord> {
    const { size } = registering.registration;
    return (await headStart()?.register(registering)) ?? (await corridor.run(registerProcess, registering, { size }));
  }

  /** A process of this id and name that differs only in what its schema levels out, or in its declared events, is the same one. */
  async function registerAlike(registering: RegisterProcess): Promise<ProcessRecord> {
    const { id } = registering.registration;
    for (let alike: string | undefined; ; ) {
      try {
        return await register({ ...registering, ...(alike !== undefined && { alike }) });
      } catch (error) {
        if (!isHoldfastError(error) || error.code !== "conflict") throw error;
        const stored = await corridor.query(["processes", "registrations"], (reader) => loadProcess(reader, id));
        if (stored && !(await isAlike(stored.registration.input))) throw error;
        // If it was removed meanwhile, it is registered anew.
        alike = stored?.process.registrationHash;
      }
    }
  }

  async function isAlike(stored: ProcessInput): Promise<boolean> {
    if (stored.type !== "task" || stored.name !== name) return false;
    const { args: known } = stored;
    if (textOf(known) === textOf(args)) return true;
    const verdict = await judgeBy(schema, known);
    return verdict.misfit === undefined && isSameValue(verdict.made, made);
  }
}

function textOf(args: JsonValue | undefined): string {
  return args === undefined ? "" : canonicalText(args);
}

/** What a definition or a name starts; `undefined` for a request. A name has the schemas of this host's definition, if there is one. */
function startedOf(
  { handlers, limits }: StartParts,
  what: unknown,
): (Pick<Runnable, "input" | "events"> & { readonly name: string }) | undefined {
  if (typeof what === "string") {
    const name = checkId("name", what, limits.idLength);
    return { ...handlers.get(name), name };
  }
  const isDefinition = guarded("definition", () => typeof what === "object" && what !== null && "run" in what);
  return isDefinition ? checkDefinition("definition", what, limits.idLength) : undefined;
}

async function prepareStart(
  { limits, schemas, newProcessId }: StartParts,
  field: string,
  request: object,
  child: Child | undefined,
): Promise<RegisterProcess> {
  const m = membersOf(field, request, ["id", "input", "eventTypes", "provenance", "grant"]);
  const id = m.id === undefined ? (child?.id ?? newProcessId()) : m.id;
  const provenance = child ? provenanceOf(child, m.id === undefined) : m.provenance;
  const given = m.grant === undefined ? undefined : membersOf(`${field}.grant`, m.grant, ["scope", "descriptor"]);
  const grant = given && {
    scope: checkScope(`${field}.grant.scope`, given.scope, limits.idLength),
    descriptor: checkDescriptor(`${field}.grant.descriptor`, given.descriptor, limits),
  };
  const registration = await prepareRegistration(field, { ...m, id, provenance }, limits, schemas);
  return { registration, ...(grant && { grant }), ...(child && { lease: child.lease }) };
}

function provenanceOf({ key, parentId, ownerScope, hostProfileId }: Child, hasDefaultId: boolean): ProcessProvenance {
  const causedBy = { type: "process" as const, processId: parentId, ...(hasDefaultId && key !== undefined && { key }) };
  return { ownerScope, hostProfileId, causedBy };
}
