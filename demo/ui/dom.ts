type Attributes = { readonly [name: string]: string | number | boolean | undefined };
type Child = Node | string | undefined;

/** An element. Text goes in as text, never as markup. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Sets or removes an attribute. An unchanged one is not touched, so that nothing is announced or styled again. */
export function set(element: Element, name: string, value: string | number | boolean | undefined): void {
  if (value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The element of index.html with this id. */
export function part<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element as T;
}

const pending = new Set<() => void>();
let frame = 0;

/** Runs once before the next paint, however often it is called. A hidden tab does not paint, so a slow timer runs it there. */
export function soon(run: () => void): void {
  pending.add(run);
  frame ||= document.visibilityState === "visible" ? requestAnimationFrame(flush) : window.setTimeout(flush, 250);
}

function flush(): void {
  frame = 0;
  const runs = [...pending];
  pending.clear();
  for (const run of runs) run();
}

// A frame that was requested before the tab was hidden comes only when the tab is shown again.
document.addEventListener("visibilitychange", () => {
  if (frame) flush();
});

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const timeOf = (ms: number): string => clock.format(ms);
