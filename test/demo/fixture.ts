import { takeIn } from "../../demo/intake.js";
import { createLibrary, type Library } from "../../demo/library.js";
import { split } from "../../demo/passages.js";
import { samples } from "../../demo/samples.js";

/** The samples as the playground has them after it read them. */
export function sampleLibrary(): Library {
  const library = createLibrary();
  for (const { fileName, text } of samples) {
    const taken = takeIn(fileName, new TextEncoder().encode(text));
    if (!taken.ok) throw new Error(taken.reason);
    split(taken.kind, text).forEach(({ title, text: body, from, to }, at) => {
      const passage = { n: at + 1, title, text: body, where: [from, to] as [number, number], words: 0, terms: [] };
      library.add(fileName, fileName, { ...passage, tab: "Otter", fence: 1 });
    });
  }
  return library;
}
