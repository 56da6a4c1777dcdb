// The conversation on show: its messages, the running answer, and the field for the next question.
import type { Conversations } from "../conversations.js";
import { starters } from "../samples.js";
import { h, part, say, set } from "./dom.js";
import { type ExchangeView, exchangeView } from "./exchange.js";
import { messageOf } from "./explain.js";

export interface Chat {
  draw(hasSamples: boolean): void;
  /** The kernel is closed: no more messages can be sent. */
  close(): void;
}

/** A message that may not be stored yet. A second try has the same key: after a double click, an error or a reload. */
interface Draft {
  readonly text: string;
  readonly key: string;
}

const draftKey = "holdfast-playground:draft";

export function chat(conversations: Conversations): Chat {
  const form = part<HTMLFormElement>("say");
  const field = part<HTMLInputElement>("message");
  const chooser = part<HTMLSelectElement>("conversations");
  const transcript = part("transcript");
  const list = part("exchanges");
  const picker = part<HTMLInputElement>("chat-file");
  const beginnings = part("starters");
  const views = new Map<string, ExchangeView>();
  let shownId: string | undefined;
  let options = "";
  let isAtEnd = true;
  let closed = false;
  let sending = false;
  let draft = readDraft();
  if (draft) field.value = draft.text;

  // The transcript scrolls, so the keyboard must reach it.
  set(transcript, "tabindex", 0);

  // A reader who has scrolled back keeps the position.
  transcript.addEventListener("scroll", () => {
    isAtEnd = transcript.scrollHeight - transcript.scrollTop - transcript.clientHeight < 40;
  });

  const note = (text: string) => say(part("chat-note"), text);
  const attempt = async (what: string, run: () => Promise<unknown>) => {
    try {
      note("");
      await run();
    } catch (error) {
      note(`${what}: ${messageOf(error)}`);
    }
  };
  const onStop = (id: string) => void attempt("Not stopped", () => conversations.stop(id));
  const forget = () => {
    if (draft && field.value.trim() === draft.text) field.value = "";
    draft = undefined;
    sessionStorage.removeItem(draftKey);
  };

  const send = async (text: string) => {
    if (closed || sending || text === "") return;
    sending = true;
    if (draft?.text !== text) draft = { text, key: crypto.randomUUID() };
    sessionStorage.setItem(draftKey, JSON.stringify(draft));
    const { key } = draft;
    await attempt("It could not be stored", async () => {
      const outcome = await conversations.say(text, key);
      if (outcome.outcome === "rejected") note(`It was not taken: ${outcome.reason}`);
      forget();
    });
    sending = false;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(field.value.trim());
  });
  beginnings.append(
    ...starters.map((question) => {
      const button = h("button", { type: "button" }, question);
      button.addEventListener("click", () => {
        // The button disappears with the first question, so the focus moves to the field.
        field.focus();
        void send(question);
      });
      return h("li", {}, button);
    }),
  );
  chooser.addEventListener("change", () => attempt("It could not be opened", () => conversations.show(chooser.value)));
  part("chat-new").addEventListener("click", () =>
    attempt("It could not be begun", async () => {
      await conversations.begin();
      field.focus();
    }),
  );

  const dialog = part<HTMLDialogElement>("confirm-delete");
  part("chat-delete").addEventListener("click", () => {
    dialog.returnValue = "";
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    const { current } = conversations;
    if (dialog.returnValue !== "delete" || !current) return;
    void attempt("It could not be deleted", () => conversations.remove(current.id));
  });

  part("chat-export").addEventListener("click", () =>
    attempt("It could not be exported", async () => {
      const { current } = conversations;
      if (current) download(await conversations.export(current.id), current.title);
    }),
  );
  part("chat-import").addEventListener("click", () => picker.click());
  picker.addEventListener("change", () =>
    attempt("It could not be imported", async () => {
      const [file] = Array.from(picker.files ?? []);
      picker.value = "";
      if (file) await conversations.import(await file.text());
    }),
  );

  return {
    draw(hasSamples) {
      const { current, all } = conversations;
      if (!current) return;
      if (draft && current.keys.has(draft.key)) forget();
      const names = all.map(({ id, title }) => [id, title] as const);
      const key = JSON.stringify([names, current.id]);
      if (key !== options) {
        options = key;
        chooser.replaceChildren(...names.map(([id, title]) => h("option", { value: id, selected: id === current.id }, title)));
      }
      const isNew = shownId !== current.id;
      if (isNew) {
        isAtEnd = true;
        views.clear();
        list.replaceChildren();
        shownId = current.id;
      }
      const { exchanges, runner } = current;
      for (const [id, { element }] of views) {
        if (exchanges.some((exchange) => exchange.id === id)) continue;
        element.remove();
        views.delete(id);
      }
      exchanges.forEach((exchange, at) => {
        const view = views.get(exchange.id) ?? exchangeView(onStop);
        views.set(exchange.id, view);
        view.update(exchange, runner, at > 0 && !isOver(exchanges[at - 1]));
        if (list.children[at] !== view.element) list.insertBefore(view.element, list.children[at] ?? null);
      });
      set(part("chat-empty"), "hidden", exchanges.length > 0);
      set(beginnings, "hidden", exchanges.length > 0 || !hasSamples);
      if (isAtEnd) transcript.scrollTop = transcript.scrollHeight;
    },
    close() {
      closed = true;
      const controls = part("chat-title").closest("section")?.querySelectorAll<HTMLInputElement>("button, input, select") ?? [];
      for (const control of controls) control.disabled = true;
      note("This tab has lost its library. Reload it to go on.");
    },
  };
}

function isOver(exchange: { readonly phase: string } | undefined): boolean {
  return exchange !== undefined && ["answered", "stopped", "given-up"].includes(exchange.phase);
}

function readDraft(): Draft | undefined {
  try {
    return JSON.parse(sessionStorage.getItem(draftKey) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

function download(text: string, title: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  const name = title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-|-$/g, "");
  h("a", { href: url, download: `${name}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
