import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin";

/** Where the words of an error stand among the arguments of what makes one. @type {Record<string, number>} */
const TEXT_AT = { HoldfastError: 1, asHoldfastError: 2, invalid: 0, opsError: 2 };

/** What an error says is for people: its code and its details are tested, its words may change. */
const texts = {
  /** @param {import("@stryker-mutator/api/ignore").NodePath} path */
  shouldIgnore(path) {
    if (!path.isStringLiteral() && !path.isTemplateLiteral()) return undefined;
    const { parent } = path;
    if (parent.type !== "NewExpression" && parent.type !== "CallExpression") return undefined;
    const { callee } = parent;
    const at = callee.type === "Identifier" ? TEXT_AT[callee.name] : undefined;
    return at !== undefined && parent.arguments[at] === path.node ? "the words of an error" : undefined;
  },
};

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, "texts", texts)];
