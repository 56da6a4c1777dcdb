import { openView, type View } from "../../../corridor/view.js";
import { checkId, optionsOf } from "../../../domain/check.js";
import type { ProcessRecord } from "../../../domain/process/process.js";
import type { Limits } from "../../../domain/time.js";
import { checkProcessFilter, type ProcessFilter } from "../../../stores/process/processes.js";
import type { SessionSummary } from "../../../stores/session/archive.js";
import { faultOfApp } from "../../host/fault.js";
import type { HostRecord } from "../../host/host-list.js";
import type { Fault } from "../../host/loop-contract.js";
import { type Lazy, mapLazy, whenLoaded } from "../../lazy.js";
import type { ViewName, ViewSourceParts } from "./view-sources.js";

/**
 * What a kernel shows of the whole database. Views of one name and filter read together and give the same objects, however many there are.
 * A read that fails leaves the value as it is, and the next poll reads again. After `close` a view keeps its last value. A filter that is
 * wrong throws `invalid`.
 */
export interface KernelViews {
  /** As `kernel.sessions.list()`; `[]` before the first read. */
  sessions(filter?: Record<string, never>): View<readonly SessionSummary[]>;
  /** Undefined before the first read, and where there is no such process. */
  process(processId: string): View<ProcessRecord | undefined>;
  /** As `kernel.processes.list(filter)`; `[]` before the first read. */
  processes(filter?: ProcessFilter): View<readonly ProcessRecord[]>;
  /** As `kernel.hosts()`; `[]` before the first read. */
  hosts(): View<readonly HostRecord[]>;
}

interface KernelViewsParts extends ViewSourceParts {
  readonly limits: Limits;
  fault(fault: Fault): void;
  readonly lazyParts: { readonly views: Lazy<typeof import("./view-sources.js")> };
}

export function createViews(parts: KernelViewsParts): KernelViews {
  const { limits } = parts;
  const sources = mapLazy(parts.lazyParts.views, ({ createViewSources }) => createViewSources(parts));

  function view<T>(name: ViewName, argument: unknown, first?: T): View<T> {
    const known = sources.loaded?.last(name, argument) ?? first;
    return openView(
      known as T,
      (show) => whenLoaded(sources, parts, ({ follow }) => follow(name, argument, show as (next: unknown) => void)),
      (error) => parts.fault(faultOfApp("listener", `a listener of views.${name}`, error)),
    );
  }

  return {
    sessions: (filter = {}) => view("sessions", optionsOf("views.sessions", filter, [], "filter"), []),
    process: (processId) => view("process", checkId("processId", processId, limits.idLength)),
    processes: (filter = {}) => view("processes", checkProcessFilter("views.processes", filter, limits), []),
    hosts: () => view("hosts", {}, []),
  };
}
