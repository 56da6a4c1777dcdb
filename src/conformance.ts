export { describeConformance, type OpenFixture, type Runner } from "./conformance/suite.js";
