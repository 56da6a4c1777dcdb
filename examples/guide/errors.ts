import { createKernel, defineProcess, isHoldfastError, typed } from "holdfast";

const divide = defineProcess({
  name: "divide",
  input: typed<{ by: number }>(),
  run({ args }) {
    if (args.by === 0) throw new RangeError("division by zero");
    return 1 / args.by;
  },
});

const kernel = await createKernel({ name: "guide-errors", processes: [divide], log: false });

const job = await kernel.start(divide, { id: "job", input: { by: 0 } });
try {
  await job.result();
} catch (error) {
  if (!isHoldfastError(error)) throw error;
  console.log(error.code, error.retriable, error.message);
}
console.log(await job.outcome());

try {
  await kernel.start(divide, { id: "job", input: { by: 2 } });
} catch (error) {
  if (!isHoldfastError(error)) throw error;
  console.log(error.code, error.message);
}

await kernel.close();
