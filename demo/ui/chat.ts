// The conversation on show: its messages, the running answer, and the field for the next question.
import { isOver } from "../conversation.js";
import type { Conversations } from "../conversations.js";
import { starters } from "../samples.js";
import { h, part, say, set } from "./dom.js";
import { type ExchangeActions, type ExchangeView, exchangeView } from "./exchange.js";
import { messageOf } from "./explain.js";

export interface Chat {
  draw(hasSamples: boolean): void;
  tick(now: number): void;
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
  const actions: ExchangeActions = {
    stop: ({ id }) => void attempt("Not stopped", () => conversations.stop(id)),
    // The same key: a double click asks once.
    tryAgain: ({ question, retryKey = "" }) =>
      void attempt("It could not be stored", () => conversations.say(question, retryKey)),
  };
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
      await conversations.say(text, key);
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
    if (dialog.returnValue !== "delete") return;
    void attempt("It could not be deleted", () => conversations.remove(current.id));
  });

  part("chat-export").addEventListener("click", () =>
    attempt("It could not be exported", async () => {
      const { current, all } = conversations;
      const title = all.find(({ id }) => id === current.id)?.title ?? "conversation";
      download(await conversations.export(current.id), title);
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
      if (draft && current.keys.has(draft.key)) forget();
      const names = all.map(
        ({ id, title, isRunning }) => [id, isRunning && id !== current.id ? `${title} (answering)` : title] as const,
      );
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
      const { exchanges, runner, isRead } = current;
      for (const [id, { element }] of views) {
        if (exchanges.some((exchange) => exchange.id === id)) continue;
        element.remove();
        views.delete(id);
      }
      exchanges.forEach((exchange, at) => {
        const view = views.get(exchange.id) ?? exchangeView(actions);
        views.set(exchange.id, view);
        view.update(
          exchange,
          runner?.name,
          exchanges.slice(0, at).some((before) => !isOver(before)),
        );
        if (list.children[at] !== view.element) list.insertBefore(view.element, list.children[at] ?? null);
      });
      set(part("chat-empty"), "hidden", exchanges.length > 0 || !isRead);
      set(beginnings, "hidden", exchanges.length > 0 || !hasSamples);
      if (isAtEnd) transcript.scrollTop = transcript.scrollHeight;
    },
    tick(now) {
      for (const view of views.values()) view.tick(now);
    },
    close() {
      closed = true;
      const controls = part("chat-title").closest("section")?.querySelectorAll<HTMLInputElement>("button, input, select") ?? [];
      for (const control of controls) control.disabled = true;
      note("This tab has lost its library. Reload it to go on.");
    },
  };
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
