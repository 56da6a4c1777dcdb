import { createKernel } from "holdfast/service-worker";
import { importRows } from "./jobs.js";

declare const self: ServiceWorkerGlobalScope;

/** Works until the job has ended. What it does not finish is gone on with by its next start, or by a page that has the job. */
async function work(id: string) {
  const kernel = await createKernel({ name: "example-service-worker", processes: [importRows] });
  try {
    await kernel.process(id).outcome();
  } finally {
    await kernel.close();
  }
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("message", (event) => event.waitUntil(work(String(event.data))));
