// The identity of this tab. Its name and colour stay over reloads; a copy of the tab gets its own.
export interface Tab {
  readonly name: string;
  readonly hue: number;
  /** The kernel's host id. Other tabs read the name from it. */
  readonly hostId: string;
}

const names = [
  "Otter",
  "Heron",
  "Marten",
  "Puffin",
  "Curlew",
  "Badger",
  "Plover",
  "Seal",
  "Wren",
  "Hare",
  "Tern",
  "Vole",
  "Eider",
  "Stoat",
  "Dipper",
  "Lynx",
];
const hues = 8;

const kept = "holdfast-playground:tab";
const counter = "holdfast-playground:tabs";
const lockPrefix = "holdfast-playground:tab:";
const namingLock = "holdfast-playground:naming";

/** A host id is `<name>-<four characters>`. The kernel appends more to name an owner; that part is ignored here. */
export function tabOf(hostOrOwnerId: string): Tab | undefined {
  const [hostId, low] = /^([a-z]+)-[a-z0-9]{4}/.exec(hostOrOwnerId) ?? [];
  const at = names.findIndex((name) => name.toLowerCase() === low);
  return hostId ? { name: names[at] ?? hostId, hue: hueOf(names[at] ?? ""), hostId } : undefined;
}

/** The number of a tab's colour; see styles.css. */
export function hueOf(name: string): number {
  return Math.max(0, names.indexOf(name)) % hues;
}

/** Chooses the name and holds it in a lock. Every other tab can see the lock, and it is free the moment the tab is gone. */
export function becomeTab(): Promise<Tab> {
  const { locks } = navigator;
  // Only one tab at a time chooses a name.
  return locks ? locks.request(namingLock, settle) : settle();
}

async function settle(): Promise<Tab> {
  const open = (await openTabs()) ?? [];
  const before = sessionStorage.getItem(kept);
  const again = before ? tabOf(before) : undefined;
  const isFree = (name: string) => !open.some((tab) => tab.name === name && tab.hostId !== again?.hostId);
  // Right after a reload, the previous page may still hold the name, so this page waits for it. A copied tab never gets it.
  if (again && isFree(again.name) && (await hold(again.hostId, 600))) return again;
  const turn = Number(localStorage.getItem(counter) ?? 0);
  const at = Math.max(
    0,
    names.findIndex((_, step) => !open.some(({ name }) => name === names[(turn + step) % names.length])),
  );
  localStorage.setItem(counter, String(turn + at + 1));
  const name = names[(turn + at) % names.length] ?? "Otter";
  const hostId = `${name.toLowerCase()}-${crypto.getRandomValues(new Uint32Array(1)).toString().slice(-4).padStart(4, "0")}`;
  sessionStorage.setItem(kept, hostId);
  await hold(hostId, 600);
  return { name, hue: hueOf(name), hostId };
}

function hold(hostId: string, waitMs: number): Promise<boolean> {
  const { locks } = navigator;
  if (!locks) return Promise.resolve(true);
  return new Promise((settle) => {
    const granted = () => {
      settle(true);
      return new Promise<never>(() => {});
    };
    locks.request(lockPrefix + hostId, { signal: AbortSignal.timeout(waitMs) }, granted).catch(() => settle(false));
  });
}

/** The names of all open tabs; undefined where the browser cannot list locks. */
async function openTabs(): Promise<Tab[] | undefined> {
  if (!navigator.locks) return undefined;
  const { held = [] } = await navigator.locks.query();
  return held.flatMap(({ name }) => (name?.startsWith(lockPrefix) ? (tabOf(name.slice(lockPrefix.length)) ?? []) : []));
}

export function forgetTabs(): void {
  localStorage.removeItem(counter);
  sessionStorage.removeItem(kept);
}
