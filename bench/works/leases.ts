import { createKernel } from "holdfast";
import { answered, committed, deleteBare, fill, openBare, STRICT } from "../bare.js";
import { tally } from "../tally.js";
import { until } from "../until.js";
import { register } from "../ways/holdfast-log.js";
import { type ProcessRow, processRow } from "../ways/log.js";
import type { Fact, Work } from "../work.js";

const LEASE_MS = 30_000;

interface LeaseRow {
  resource: string;
  fencingToken: number;
  claimedAtMs: number;
  expiresAtMs: number;
  ownerId?: string;
  leaseToken?: string;
  fruitless: number;
}

export const leases: Work = {
  name: "leases",
  title: "Claim, renew and release a lease",
  about:
    "One process's lease is claimed, renewed and released, each awaited before the next. The floor is three bare transactions: read the " +
    "process and its lease, put the lease; read the lease and put it, twice. Counted beside it: what the loop of a kernel asks of " +
    "IndexedDB to renew all leases of its host.",
  unit: "ms per cycle",
  goals: [
    { of: "holdfast", over: "bare", speed: 0.85 },
    { fact: "transactions of one renewal of all leases", atMost: 1 },
  ],
  leftOut: {
    "the other peers": "none has leases; one built on them would be as fast as their transactions, see `append`",
  },
  async open(bench) {
    const kernel = await createKernel({ name: "bench-leases" });
    await register(kernel, "p");
    const { processes } = kernel;
    const bare = await openBare("bench-leases-bare", { processes: { key: "processId" }, leases: { key: "resource" } });
    await fill(bare, "processes", 1, () => processRow("p"));
    const per = bench.size(70, 2);
    return {
      variants: [
        {
          name: "holdfast",
          per,
          async run() {
            for (let at = 0; at < per; at++) {
              const lease = await processes.claimProcessLease("p", "bench", LEASE_MS);
              await processes.completeProcessLease(await processes.renewProcessLease(lease, LEASE_MS));
            }
          },
        },
        {
          name: "bare",
          per,
          async run() {
            for (let at = 0; at < per; at++) {
              const leaseToken = await claim(bare);
              await change(bare, leaseToken, (row) => ({ ...row, expiresAtMs: Date.now() + LEASE_MS }));
              await change(bare, leaseToken, ({ resource, fencingToken, fruitless }) => ({
                resource,
                fencingToken,
                claimedAtMs: 0,
                expiresAtMs: 0,
                fruitless,
              }));
            }
          },
        },
      ],
      facts: () => renewals(bench.size(1_000, 10)),
      async close() {
        await kernel.close();
        bare.close();
        await deleteBare("bench-leases");
        await deleteBare("bench-leases-bare");
      },
    };
  },
};

function claim(database: IDBDatabase): Promise<string> {
  const transaction = database.transaction(["processes", "leases"], "readwrite", STRICT);
  const table = transaction.objectStore("leases");
  let process: ProcessRow | undefined;
  let leaseToken = "";
  transaction.objectStore("processes").get("p").onsuccess = ({ target }) => {
    process = (target as IDBRequest<ProcessRow | undefined>).result;
  };
  table.get("p").onsuccess = ({ target }) => {
    const row = (target as IDBRequest<LeaseRow | undefined>).result;
    if (process?.state !== "running" || (row?.leaseToken !== undefined && row.expiresAtMs > Date.now()))
      throw new Error("the lease is held");
    const fencingToken = (row?.fencingToken ?? 0) + 1;
    leaseToken = `${crypto.randomUUID()}.${fencingToken}`;
    const claimedAtMs = Date.now();
    const expiresAtMs = claimedAtMs + LEASE_MS;
    table.put({ resource: "p", fencingToken, claimedAtMs, expiresAtMs, ownerId: "bench", leaseToken, fruitless: 0 });
    transaction.commit();
  };
  return committed(transaction).then(() => leaseToken);
}

function change(database: IDBDatabase, leaseToken: string, next: (row: LeaseRow) => LeaseRow): Promise<void> {
  const transaction = database.transaction("leases", "readwrite", STRICT);
  const table = transaction.objectStore("leases");
  const read: IDBRequest<LeaseRow> = table.get("p");
  read.onsuccess = () => {
    if (read.result.leaseToken !== leaseToken) throw new Error("the lease is lost");
    table.put(next(read.result));
    transaction.commit();
  };
  return committed(transaction);
}

/** Counts the renewals of a separate kernel whose handlers hold their leases until it closes. */
async function renewals(count: number): Promise<Fact[]> {
  const name = "bench-renewals";
  const kernel = await createKernel({
    name,
    loop: "inline",
    concurrency: count,
    timings: { leaseTtlMs: 30_000, leaseRenewMs: 2_000 },
    handlers: { hold: ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))) },
  });
  await Promise.all(Array.from({ length: count }, () => kernel.start({ input: { type: "task", name: "hold" } })));
  const database = await openBare(name);
  await until("all are claimed", async () => {
    const held = await answered(database.transaction("leases").objectStore("leases").index("[bootId+resource]").count());
    return held === count;
  });
  database.close();
  const { seen, stop } = tally();
  const renewal = await until("a renewal", () => {
    const at = seen.findIndex(({ puts }) => (puts.leases ?? 0) > 0);
    const ended = seen.slice(at).filter(({ puts }) => (puts.leases ?? 0) > 0);
    const rows = ended.reduce((sum, { puts }) => sum + (puts.leases ?? 0), 0);
    return at >= 0 && rows >= count && ended.every(({ ms }) => ms !== undefined) && ended;
  });
  stop();
  await kernel.close();
  await deleteBare(name);
  return [
    { name: "leases that one host held", value: count, unit: "" },
    { name: "transactions of one renewal of all leases", value: renewal.length, unit: "" },
    { name: "and how long it took", value: renewal.reduce((sum, { ms = 0 }) => sum + ms, 0), unit: "ms" },
  ];
}
