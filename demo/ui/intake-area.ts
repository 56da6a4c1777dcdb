// Takes files: dropped anywhere, chosen, or the samples. A refused file is listed with its reason.
import { accepted, type Intake, takeIn } from "../intake.js";
import { samples } from "../samples.js";
import { h, part, say } from "./dom.js";

const paces = [
  { ms: 400, name: "400 ms" },
  { ms: 120, name: "120 ms" },
  { ms: 0, name: "none" },
];

export interface Refusal {
  readonly fileName: string;
  readonly reason: string;
}

const saidForMs = 1_500;

/** The result for a readable file. */
export type Taken = { readonly how: "taken" | "known" } | { readonly how: "refused"; readonly reason: string };

export interface IntakeArea {
  /** The kernel is closed: no more files are taken. */
  close(): void;
}

export function intakeArea(take: (file: Extract<Intake, { ok: true }>, paceMs: number) => Promise<Taken>): IntakeArea {
  const drop = part("drop");
  const picker = part<HTMLInputElement>("picker");
  const refused = part("refused");
  const pace = part<HTMLFieldSetElement>("pace");
  const choose = part<HTMLButtonElement>("choose");
  const trySamples = part<HTMLButtonElement>("try-samples");
  const note = part("intake-note");
  let closed = false;
  picker.accept = accepted;

  const choices = h("div", { class: "paces" });
  choices.append(
    ...paces.map(({ ms, name }) => {
      const input = h("input", { type: "radio", name: "pace", value: ms, checked: ms === 120 });
      return h("label", {}, input, h("span", { class: "numbers" }, name));
    }),
  );
  pace.append(choices);
  const paceMs = () => Number(pace.querySelector<HTMLInputElement>("input:checked")?.value ?? 0);

  const refuse = ({ fileName, reason }: Refusal) => {
    const away = h("button", { type: "button", class: "plain" }, "Dismiss");
    const item = h("li", {}, h("strong", {}, fileName), h("span", {}, reason), away);
    away.addEventListener("click", () => item.remove());
    refused.append(item);
  };
  const offer = async (fileName: string, read: () => Promise<Uint8Array>): Promise<Taken> => {
    let intake: Intake;
    try {
      intake = takeIn(fileName, await read());
    } catch {
      intake = { ok: false, fileName, reason: "The browser could not read it. Folders have to be opened first." };
    }
    return intake.ok ? await take(intake, paceMs()) : { how: "refused", reason: intake.reason };
  };
  const clear = () => {
    refused.replaceChildren();
    say(note, "");
  };
  const offerAll = async (files: Iterable<File>) => {
    if (closed) return;
    clear();
    for (const file of files) {
      const taken = await offer(file.name, async () => new Uint8Array(await file.arrayBuffer()));
      if (taken.how === "known") refuse({ fileName: file.name, reason: "This file is already here." });
      else if (taken.how === "refused") refuse({ fileName: file.name, reason: taken.reason });
    }
  };

  choose.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    // The list empties with the field, so it is copied first.
    const files = Array.from(picker.files ?? []);
    picker.value = "";
    void offerAll(files);
  });
  trySamples.addEventListener("click", async () => {
    trySamples.disabled = true;
    clear();
    const label = trySamples.textContent ?? "";
    let known = 0;
    for (const { fileName, text } of samples) {
      const taken = await offer(fileName, async () => new TextEncoder().encode(text));
      if (taken.how === "known") known++;
      else if (taken.how === "refused") refuse({ fileName, reason: taken.reason });
    }
    if (known === samples.length) {
      // Written on the button itself, so that nothing moves.
      say(note, "The sample files are already here.");
      say(trySamples, "Already here");
      await new Promise((resolve) => setTimeout(resolve, saidForMs));
      say(trySamples, label);
    }
    trySamples.disabled = closed;
  });

  let over = 0;
  const carriesFiles = (event: DragEvent) => (!closed && event.dataTransfer?.types.includes("Files")) ?? false;
  const lit = (on: boolean) => drop.toggleAttribute("data-over", on);
  addEventListener("dragenter", (event) => carriesFiles(event) && lit(++over > 0));
  addEventListener("dragleave", (event) => carriesFiles(event) && lit(--over > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over = 0;
    lit(false);
    void offerAll(Array.from(event.dataTransfer?.files ?? []));
  });

  return {
    close() {
      closed = true;
      lit(false);
      for (const control of [choose, trySamples, pace]) control.disabled = true;
      say(note, "This tab has lost its library. Reload it to add files.");
    },
  };
}
