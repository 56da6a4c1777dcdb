import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin";

/** The position of an error's text among the arguments of its maker. @type {Record<string, number>} */
const TEXT_AT = { HoldfastError: 1, asHoldfastError: 2, invalid: 0, opsError: 2 };

/** An error's text is for people and may change; its code and its details are tested. */
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
