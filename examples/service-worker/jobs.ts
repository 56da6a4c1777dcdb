import { defineProcess, typed } from "holdfast";

export const importRows = defineProcess({
  name: "import-rows",
  input: typed<{ rows: number[] }>(),
  async run({ args, step }) {
    let sum = 0;
    for (const [at, row] of args.rows.entries()) sum += await step(`row-${at}`, () => row);
    return sum;
  },
});
