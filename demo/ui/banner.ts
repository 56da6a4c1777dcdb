import { h, part } from "./dom.js";

/** Shows what is wrong with this whole tab, and the way out. Only the first trouble is shown: later ones follow from it. */
export function showBanner(title: string, text: string, lasting = true): void {
  const banner = part("banner");
  if (!banner.hidden && banner.hasAttribute("data-lasting")) return;
  const reload = h("button", { type: "button" }, "Reload this tab");
  reload.addEventListener("click", () => location.reload());
  banner.replaceChildren(h("strong", {}, title), h("span", {}, text), reload);
  banner.toggleAttribute("data-lasting", lasting);
  banner.hidden = false;
}

export function hideBanner(): void {
  const banner = part("banner");
  if (!banner.hasAttribute("data-lasting")) banner.hidden = true;
}

/** Replaces the page when it has nothing else to show. */
export function showGate(title: string, text: string, action: string, run: () => void): void {
  const button = h("button", { type: "button", class: "primary" }, action);
  button.addEventListener("click", run);
  const gate = part("gate");
  gate.replaceChildren(h("h2", {}, title), h("p", {}, text), button);
  gate.hidden = false;
  part("main").hidden = true;
}
