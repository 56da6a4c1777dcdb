import { createKernel } from "holdfast";
import { importRows } from "./jobs.js";

// The page starts the job and waits for it. It does not run it: it has no `processes`.
const kernel = createKernel({ name: "example-service-worker" });
const registered = navigator.serviceWorker.register("./service-worker.js", { type: "module" });

document.getElementById("import")?.addEventListener("click", async () => {
  await registered;
  const job = await (await kernel).start(importRows, { id: "import-1", input: { rows: [1, 2, 3] } });
  const { active } = await navigator.serviceWorker.ready;
  active?.postMessage(job.id);
  const result = document.getElementById("result");
  if (result) result.textContent = `The sum is ${await job.result()}.`;
});
