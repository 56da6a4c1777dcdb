import { serveLoop } from "./loop/worker-host.js";

/** The module that the loop's Web Worker runs. In a package it is one file with everything in it. */
serveLoop();
