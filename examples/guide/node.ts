import { createKernel, defineProcess } from "holdfast";

const report = defineProcess({
  name: "report",
  async run(context) {
    const rows = await context.step("rows", async () => [1, 2, 3]);
    return rows.reduce((sum, row) => sum + row, 0);
  },
});

const kernel = await createKernel({ name: "guide-node", processes: [report] });
const { storage, durability } = await kernel.status();
console.log(storage, durability);

const job = await kernel.start(report);
console.log(await job.result());
// Nothing is waited for any more: the program ends here, although the kernel is open.
