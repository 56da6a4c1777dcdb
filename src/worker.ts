import { answerPage } from "./loop/worker-host.js";

export { serveLoop } from "./loop/worker-host.js";

/** The module of the loop's Web Worker. The package ships it as one file with all its code. */
answerPage();
