import { answer } from "../ask.js";
import type { Library } from "../library.js";
import { showAnswer } from "./answer.js";
import { h, part, set } from "./dom.js";

export interface AskBox {
  /** The library has grown: there may be a better answer to the question on show. */
  grown(): void;
  examples(questions: readonly string[]): void;
}

export function askBox(library: Library): AskBox {
  const form = part<HTMLFormElement>("ask");
  const field = part<HTMLInputElement>("question");
  const place = part("answer");
  const examples = part("examples");
  let asked = "";
  let shown = "";
  let later: number | undefined;

  const show = () => {
    if (asked === "") {
      shown = "";
      place.replaceChildren();
      return;
    }
    const found = answer(asked, library.find);
    const key = JSON.stringify([found, library.size === 0]);
    if (key !== shown) showAnswer(place, found, library.size);
    shown = key;
  };
  const ask = (question: string) => {
    asked = question.trim();
    show();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(field.value);
  });
  field.addEventListener("input", () => field.value === "" && ask(""));

  return {
    grown() {
      if (asked === "" || later !== undefined) return;
      later = window.setTimeout(() => {
        later = undefined;
        show();
      }, 400);
    },
    examples(questions) {
      if (examples.children.length === questions.length) return;
      examples.replaceChildren(
        ...questions.map((question) => {
          const button = h("button", { type: "button" }, question);
          button.addEventListener("click", () => {
            field.value = question;
            ask(question);
          });
          return h("li", {}, button);
        }),
      );
      set(examples, "hidden", questions.length === 0);
    },
  };
}
