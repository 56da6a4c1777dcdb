import { checkList, checkOneOf, checkWhole, optionsOf } from "../domain/check.js";
import type { KernelStorage } from "../ports/storage.js";
import { FAULTS, type FaultKind } from "./fault-kinds.js";
import { WORK, type WorkKind } from "./works/workload.js";

/** What is simulated. Everything comes out of the seed. */
export interface SimulationOptions {
  /** The same seed, with the same other options, gives the same run. */
  seed: number;
  /** How many things are done to the world, work and faults together. Default 120. */
  steps?: number;
  /** Default 3. */
  hosts?: number;
  /** Default: all. */
  faults?: readonly FaultKind[];
  /** Default: all. */
  work?: readonly WorkKind[];
  /** Only the planned steps with these numbers are run: how a shorter history is run. */
  only?: readonly number[];
  /** Wraps the storage of each host, to break a promise, which the rules must then notice. */
  sabotage?: (storage: KernelStorage, host: string) => KernelStorage;
}

const KINDS_OF_WORK = Object.keys(WORK) as WorkKind[];
const MOST_STEPS = 100_000;
const MOST_HOSTS = 100;

export type CheckedSimulation = ReturnType<typeof checkSimulation>;

export function checkSimulation(options: SimulationOptions) {
  const given = optionsOf("simulate", options, ["seed", "steps", "hosts", "faults", "work", "only", "sabotage"]);
  const list = <T>(field: string, value: unknown, check: (field: string, item: unknown) => T): T[] =>
    checkList(field, value, MOST_STEPS).map((item, at) => check(`${field}[${at}]`, item));
  const { steps = 120, hosts = 3, faults = FAULTS, work = KINDS_OF_WORK, only, sabotage } = given;
  return {
    seed: checkWhole("options.seed", given.seed, 0),
    steps: checkWhole("options.steps", steps, 0, MOST_STEPS),
    hosts: checkWhole("options.hosts", hosts, 1, MOST_HOSTS),
    faults: list("options.faults", faults, (field, item) => checkOneOf(field, item as FaultKind, FAULTS)),
    work: list("options.work", work, (field, item) => checkOneOf(field, item as WorkKind, KINDS_OF_WORK)),
    only: only === undefined ? undefined : list("options.only", only, (field, item) => checkWhole(field, item, 1)),
    sabotage: sabotage as SimulationOptions["sabotage"],
  };
}
