// Where files come in: dropped anywhere, chosen, or the samples. What is refused is said beside its name.
import { accepted, type Intake, takeIn } from "../intake.js";
import { samples } from "../samples.js";
import { h, part } from "./dom.js";

const paces = [
  { ms: 400, name: "400 ms" },
  { ms: 120, name: "120 ms" },
  { ms: 0, name: "none" },
];

export interface Refusal {
  readonly fileName: string;
  readonly reason: string;
}

/** `take` may refuse a readable file too, with a reason. */
export function intakeArea(take: (file: Extract<Intake, { ok: true }>, paceMs: number) => Promise<string | undefined>): void {
  const drop = part("drop");
  const picker = part<HTMLInputElement>("picker");
  const refused = part("refused");
  const pace = part("pace");
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
  const offer = async (fileName: string, read: () => Promise<Uint8Array>) => {
    let intake: Intake;
    try {
      intake = takeIn(fileName, await read());
    } catch {
      intake = { ok: false, fileName, reason: "The browser could not read it. Folders have to be opened first." };
    }
    if (!intake.ok) return refuse(intake);
    const reason = await take(intake, paceMs());
    if (reason) refuse({ fileName, reason });
  };
  const offerAll = async (files: Iterable<File>) => {
    refused.replaceChildren();
    for (const file of files) await offer(file.name, async () => new Uint8Array(await file.arrayBuffer()));
  };

  part("choose").addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    // The list empties with the field, so it is copied first.
    const files = Array.from(picker.files ?? []);
    picker.value = "";
    void offerAll(files);
  });
  part("try-samples").addEventListener("click", async () => {
    refused.replaceChildren();
    for (const { fileName, text } of samples) await offer(fileName, async () => new TextEncoder().encode(text));
  });

  let over = 0;
  const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
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
}
