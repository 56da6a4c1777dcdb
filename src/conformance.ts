export { describeConformance, describeKernel, describeStorage, type OpenFixture, type Runner } from "./conformance/suite.js";
