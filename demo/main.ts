import { isHoldfastError, type Kernel, type ProcessEvent, type TurnHandler } from "holdfast";
import { agent } from "./agent.js";
import { followAlive, type Present, presentIn } from "./alive.js";
import { type Conversation, type Conversations, followConversations } from "./conversations.js";
import { type FileEntry, type Files, followFiles } from "./files.js";
import { becomeTab, hueOf, type Tab } from "./identity.js";
import { type IndexFile, indexFile, pickedUp } from "./index-file.js";
import { openKernel, startOver } from "./kernel.js";
import { followLater } from "./later.js";
import { type LaterJobs, laterJobs, type Shelf } from "./later-jobs.js";
import { createLibrary } from "./library.js";
import { pause } from "./pace.js";
import { questions, samples } from "./samples.js";
import { settings } from "./settings.js";
import { alivePanel } from "./ui/alive.js";
import { askBox } from "./ui/ask-box.js";
import { hideBanner, showBanner, showGate } from "./ui/banner.js";
import { chat } from "./ui/chat.js";
import { part, say, set, soon } from "./ui/dom.js";
import { explain, messageOf } from "./ui/explain.js";
import { intakeArea } from "./ui/intake-area.js";
import { laterPanel } from "./ui/later.js";
import { settingsDialog } from "./ui/settings.js";
import { shelf } from "./ui/shelf.js";
import { type Story, story } from "./ui/story.js";
import { showGranted, showRoster, troubleButtons } from "./ui/tabs.js";
import { plural } from "./words.js";

if (new URLSearchParams(location.search).has("closed")) {
  const back = () => location.replace(location.pathname);
  showGate(
    "This tab has left",
    "Its page is gone, and its kernel with it. Any other open tab goes on with the work.",
    "Come back",
    back,
  );
} else {
  const tab = await becomeTab();
  wear(tab);
  const reading = indexFile(tab.name, pause);
  let answer: (handler: TurnHandler) => void = () => {};
  // A turn that waits from before this tab opened begins when the library follows the files.
  const answering = new Promise<TurnHandler>((resolve) => {
    answer = resolve;
  });
  let count: Opened["count"] = () => {};
  // So does a job that was left over.
  const counting = new Promise<() => Promise<Shelf>>((resolve) => {
    count = resolve;
  });
  const jobs = laterJobs(tab.name, async () => (await counting)());
  await openKernel(tab, reading, jobs, async (turn) => (await answering)(turn))
    .then((kernel) => {
      // In development, an edit reloads the page: the kernel ends in order before.
      import.meta.hot?.on("vite:beforeFullReload", () => kernel.close());
      return run({ tab, kernel, reading, jobs, answer, count });
    })
    .catch(explain);
}

/** What is made before the kernel, with what it needs once it is open. */
interface Opened {
  readonly tab: Tab;
  readonly kernel: Kernel;
  readonly reading: IndexFile;
  readonly jobs: LaterJobs;
  answer(handler: TurnHandler): void;
  count(shelf: () => Promise<Shelf>): void;
}

async function run({ tab, kernel, reading, jobs, answer, count }: Opened): Promise<void> {
  const library = createLibrary();
  const ask = askBox(library);
  const { tell } = story();
  const cards = shelf();
  const stopped = new AbortController();
  let present: readonly Present[] = [];
  let files: Files | undefined;
  let conversations: Conversations | undefined;

  const answerNews = newsOfAnswers();

  const draw = () => {
    // The first events may come before the lists are complete.
    if (!files || !conversations) return;
    const { cancel, entries } = files;
    cards.draw((id) => cancel(id, `cancelled in ${tab.name}`));
    drawTotals(tab, [...entries.values()]);
    const hasSamples = samples.some(({ fileName }) => [...entries.values()].some(({ args }) => args.fileName === fileName));
    ask.examples(hasSamples ? questions : []);
    talk.draw(hasSamples);
    waits.draw(files.entries.size > 0);
    const { current } = conversations;
    for (const [name, text] of answerNews(current)) tell(Date.now(), name, text);
    const now = presentIn(alive.hosts, Date.now());
    tellPresence(tell, present, now);
    present = now;
    showRoster(present, entries.values(), current.runner);
  };

  const following = await followFiles(
    kernel,
    reading,
    library,
    {
      changed(entry) {
        cards.mark(entry);
        soon(draw);
      },
      happened(entry, event) {
        tellEvent(tell, entry, event);
        if (event.eventType === "process.step") ask.grown();
      },
      failed: explain,
    },
    stopped.signal,
  );
  files = following;

  const intake = intakeArea(async ({ fileName, kind, text }, paceMs) => {
    for (const { args, model } of following.entries.values()) {
      const kept = model.state === "running" || model.state === "completed";
      if (kept && args.fileName === fileName && args.text === text) return { how: "known" };
    }
    try {
      await following.add({ fileName, kind, text, paceMs });
      return { how: "taken" };
    } catch (error) {
      const isFull = isHoldfastError(error) && error.code === "quota-exceeded";
      const reason = isFull ? "The browser has no space left for it." : `It could not be stored: ${messageOf(error)}`;
      return { how: "refused", reason };
    }
  });

  const endpoint = settings(kernel);
  answer(agent({ tab: tab.name, library, caughtUp: following.caughtUp, endpoint: endpoint.read, pause }));
  conversations = await followConversations({
    kernel,
    changed: () => soon(draw),
    failed: explain,
    signal: stopped.signal,
  });
  const talk = chat(conversations);
  count(async () => {
    await following.caughtUp();
    return { files: following.entries.size, passages: library.size };
  });
  const later = followLater({
    kernel,
    jobs,
    tab: tab.name,
    changed: () => soon(draw),
    failed: explain,
    signal: stopped.signal,
  });
  const waits = laterPanel(later);
  const answers = settingsDialog(endpoint);
  const alive = followAlive({ kernel, tab, changed: () => soon(drawAlive), failed: explain, signal: stopped.signal });
  const drawAlive = () => {
    panel.draw();
    draw();
  };
  const retire = () => {
    stopped.abort();
    intake.close();
    talk.close();
    waits.close();
    panel.close();
    set(part("start-over"), "disabled", true);
  };
  const panel = alivePanel(alive, async () => {
    retire();
    await kernel.close();
    showBanner(
      "This tab's kernel is closed.",
      "It said farewell: its agents are offline, its leases are free for the other tabs.",
    );
  });
  watchStorage(kernel, retire);
  troubleButtons((text) => tell(Date.now(), tab.name, text));
  kernel.on("leaseLost", ({ processId }) => {
    const entry = following.entries.get(processId);
    if (entry) tell(Date.now(), tab.name, `has lost its lease on ${entry.args.fileName} and may not write to it any more`);
  });

  const dialog = part<HTMLDialogElement>("confirm");
  part("start-over").addEventListener("click", () => dialog.showModal());
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "delete") return;
    stopped.abort();
    await startOver(kernel).then(
      () => location.reload(),
      (error) => showBanner("Not everything could be deleted.", messageOf(error)),
    );
  });

  setInterval(() => {
    if (document.visibilityState !== "visible") return;
    cards.tick(Date.now());
    talk.tick(Date.now());
    waits.tick(Date.now());
    panel.tick(Date.now());
  }, 100);

  // The loop's place may change: after too many deaths of the worker, the page runs it.
  const grant = async () => {
    const status = await kernel.status();
    showGranted(status, tab.name);
    await answers.refresh(status.secrets);
  };
  setInterval(() => grant().catch(() => {}), 5_000);
  await grant();
  part("gate").hidden = true;
  part("main").hidden = false;
  draw();
}

function drawTotals({ name }: Tab, entries: readonly FileEntry[]): void {
  const read = entries.reduce((sum, { model }) => sum + model.steps.length, 0);
  const total = entries.reduce((sum, { model }) => sum + (model.planned ?? 0), 0);
  const running = entries.some(({ model }) => model.state === "running");
  say(part("total"), entries.length === 0 ? "" : `${read.toLocaleString("en")} of ${plural(total, "passage")} read`);
  document.title = `${name}${running ? `, ${read} of ${total}` : ""} · holdfast playground`;
  set(part("drop"), "data-compact", entries.length > 0);
  set(part("start-over"), "hidden", entries.length === 0);
}

/** The page's accent and its icon have the tab's colour. */
function wear({ name }: Tab): void {
  set(document.documentElement, "data-hue", hueOf(name));
  document.title = `${name} · holdfast playground`;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--icon").trim();
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`;
  document.querySelector("link[rel=icon]")?.setAttribute("href", `data:image/svg+xml,${encodeURIComponent(svg)}`);
}

function watchStorage(kernel: Kernel, lost: () => void): void {
  kernel.on("storage", ({ state }) => {
    if (state === "lost" || state === "upgrade-required") lost();
    if (state === "lost")
      showBanner(
        "The library was deleted.",
        "Another tab started over, or the browser cleared its data. Nothing more is stored from here.",
      );
    else if (state === "upgrade-required")
      showBanner("A newer version has changed the library.", "This tab runs an older one and has stopped.");
    else if (state === "blocked")
      showBanner("Another tab holds the library.", "Close or reload that tab; then this one goes on.", false);
    else hideBanner();
  });
}

function tellEvent(tell: Story["tell"], { args: { fileName }, model }: FileEntry, event: ProcessEvent): void {
  if (event.eventType === pickedUp) {
    const text =
      model.attempt === 1 ? `began ${fileName}` : `took over ${fileName} after ${plural(model.steps.length, "passage")}`;
    tell(event.occurredAtMs, model.worker, text);
  } else if (event.semantics.terminal) {
    const ends = { completed: "is read to the end", failed: "has failed", cancelled: "was cancelled" };
    tell(event.occurredAtMs, undefined, `${fileName} ${ends[event.semantics.terminal.state]}`);
  }
}

/** Reports which tab began an answer and which went on with it, as far as this tab sees it. */
function newsOfAnswers(): (shown: Conversation) => [name: string, text: string][] {
  const attempts = new Map<string, number>();
  let known = "";
  return ({ id: conversation, isRead, exchanges, runner }) => {
    const news = exchanges.flatMap(({ id, phase, attempt, parts }): [string, string][] => {
      if (phase !== "running" || runner === undefined || attempts.get(id) === attempt) return [];
      attempts.set(id, attempt);
      const on = parts.length > 0 ? `went on with an answer after ${plural(parts.length, "part")}` : "tried an answer again";
      return [[runner.name, attempt === 1 ? "began an answer" : on]];
    });
    // Answers that were already running when this tab showed the conversation: it did not see them begin.
    const seen = known === conversation ? news : [];
    if (isRead) known = conversation;
    return seen;
  };
}

function tellPresence(tell: Story["tell"], before: readonly Present[], now: readonly Present[]): void {
  const at = Date.now();
  for (const { tab, silentMs } of before) {
    const after = now.find((one) => one.tab.hostId === tab.hostId);
    if (!after) tell(at, tab.name, "is gone");
    else if (after.silentMs > 0 && silentMs === 0) tell(at, tab.name, "does not answer");
    else if (after.silentMs === 0 && silentMs > 0) tell(at, tab.name, "answers again");
  }
  if (before.length === 0) return;
  for (const { tab } of now) if (!before.some((one) => one.tab.hostId === tab.hostId)) tell(at, tab.name, "was opened");
}
