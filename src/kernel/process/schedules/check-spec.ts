import { checkId, membersOf } from "../../../domain/check.js";
import { invalid } from "../../../domain/errors.js";
import {
  checkScheduleId,
  checkTimes,
  occurrenceId,
  type ScheduleSpec,
  type ScheduleStart,
} from "../../../domain/process/schedule.js";
import { admitPayload } from "../../../stores/process/registration.js";
import { madeOf } from "../definition/schema-verdict.js";
import { prepareStart, type StartParts } from "../start.js";

/** The spec as it is stored. Its start is checked as that of a process is, and its input by this host's definition of that name. */
export async function checkSpec(parts: StartParts, given: unknown): Promise<ScheduleSpec> {
  const { limits } = parts;
  const m = membersOf("spec", given, ["id", "when", "start", "catchUp", "overlap", "untilMs"]);
  const id = checkScheduleId("spec.id", m.id, limits.idLength);
  const times = checkTimes(m, limits.idLength);
  return { id, ...times, start: await checkStart(parts, id, m.start) };
}

async function checkStart(parts: StartParts, id: string, given: unknown): Promise<ScheduleStart> {
  const { limits, handlers } = parts;
  const field = "spec.start";
  const m = membersOf(field, given, ["name", "input", "grant", "provenance"]);
  const provenance =
    m.provenance === undefined
      ? undefined
      : membersOf(`${field}.provenance`, m.provenance, ["ownerScope", "hostProfileId", "causedBy"]);
  if (provenance?.causedBy !== undefined)
    throw invalid(`${field}.provenance.causedBy must not be given: the schedule is the cause`);
  const grant = m.grant === undefined ? undefined : membersOf(`${field}.grant`, m.grant, ["scope", "descriptor"]);
  const start = {
    name: checkId(`${field}.name`, m.name, limits.idLength),
    ...(m.input !== undefined && { input: admitPayload(m.input, `${field}.input`, limits) }),
  };
  const prepared = await prepareStart(
    parts,
    field,
    { id: occurrenceId(id, 0), input: { type: "task", name: start.name }, provenance, grant },
    undefined,
  );
  await madeOf(`${field}.input`, handlers.get(start.name)?.input, start.input);
  const { ownerScope, hostProfileId } = prepared.registration.provenance;
  return {
    ...start,
    ...(prepared.grant && {
      grant: { scope: prepared.grant.scope, ...(grant?.descriptor !== undefined && { descriptor: prepared.grant.descriptor }) },
    }),
    ...(provenance && { provenance: { ownerScope, hostProfileId } }),
  };
}
