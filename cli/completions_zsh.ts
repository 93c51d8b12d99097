/**
 * The completion script for zsh, over its own `_arguments`.
 *
 * @module
 */
import type { Command, FlagSpec, OperandSpec, ValueSpec } from "./command.ts";
import { type CompletionModel, optionChoices, optionSets } from "./completions.ts";

/** Text between single quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Text in a place where `_arguments` and `_describe` read colons and brackets. */
function escaped(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}

/** The action of `_arguments` that completes such a value. */
function action({ kind = "text", choices }: ValueSpec, own = ""): string {
  if (choices) return `(${choices.join(" ")})`;
  switch (kind) {
    case "file":
    case "module":
      return "_files";
    case "option":
      return ` __ringpipe_options ${own}`;
    case "backend":
    case "struct":
    case "command":
      return `__ringpipe_${kind}s`;
    default:
      return " ";
  }
}

function flagArgument(flag: FlagSpec, own?: string): string {
  const { name, short, value, repeat } = flag;
  const forms = [...short ? [`-${short}`] : [], `--${name}`];
  const excluded = repeat ? "*" : `(${forms.join(" ")})`;
  const behind = `[${escaped(flag.meaning)}]${value ? `:${escaped(value)}:${action(flag, own)}` : ""}`;
  // -o VALUE, -oVALUE; --name VALUE, --name=VALUE.
  const specs = forms.map((form) => `${form}${value ? form.startsWith("--") ? "=" : "+" : ""}`);
  return specs.map((spec) => `    ${quoted(excluded + spec + behind)} \\\n`).join("");
}

function operandArgument(operand: OperandSpec, index: number): string {
  const place = operand.repeat ? "*" : `${index + 1}`;
  const colons = operand.optional && !operand.repeat ? "::" : ":";
  return `    ${quoted(`${place}${colons}${escaped(operand.name)}:${action(operand)}`)} \\\n`;
}

function argumentsOf(path: string, command: Command): string {
  const specs = command.flags.map((flag) => flagArgument(flag, command.options && path)).join("") +
    `    '(-h --help)'{-h,--help}'[Prints help]' \\\n` +
    command.operands.map(operandArgument).join("");
  return `  _arguments -s \\\n${specs.replace(/ \\\n$/, "\n")}`;
}

function functionName(path: string): string {
  return ["_ringpipe", ...path.split(" ")].filter((word) => word).join("_");
}

function describeWords(words: readonly (readonly [string, string])[]): string {
  return words.map(([word, summary]) => `    ${quoted(`${word}:${escaped(summary)}`)}\n`).join("");
}

/** A function that takes the first word for a command and hands the rest to that command's function. */
function dispatcher(path: string, words: readonly (readonly [string, string])[]): string {
  return `${functionName(path)}() {
  local -a commands=(
${describeWords(words)}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local function=${functionName(path)}_$words[2]
  (( CURRENT-- ))
  shift words
  (( $+functions[$function] )) && $function
}
`;
}

function optionCases(model: CompletionModel): string {
  return Object.entries(optionSets(model)).map(([backend, specs]) => {
    const names = specs.map(({ name, meaning }) => quoted(`${name}:${escaped(meaning)}`)).join(" ");
    const values = specs.filter((spec) => optionChoices(spec).length > 0).map((spec) =>
      `        ${spec.name}=*) values=(${optionChoices(spec).join(" ")}) ;;\n`
    ).join("");
    return `    ${backend})
      names=(${names})
      case $PREFIX in
${values}      esac
      ;;
`;
  }).join("");
}

/** Writes the script. */
export function zshScript(model: CompletionModel): string {
  const commands = model.commands.map(({ path, command }) =>
    `${functionName(path)}() {\n${argumentsOf(path, command)}}\n`
  );
  const groups = Object.entries(model.groups).map(([name, words]) => dispatcher(name, words));
  return `#compdef ringpipe
# ringpipe completions for zsh
__ringpipe_backends() {
  compadd -- ${Object.keys(model.options).join(" ")}
}
__ringpipe_structs() {
  compadd -- ${model.structs.map(quoted).join(" ")}
}
__ringpipe_commands() {
  compadd -- ${model.names.map(([name]) => name).join(" ")}
}
__ringpipe_options() {
  local -a names values
  local backend=\${1:-\${opt_args[-b]:-\${opt_args[--backend]}}}
  case $backend in
${optionCases(model)}  esac
  if compset -P '*='; then
    compadd -- $values
  else
    _describe option names -qS =
  fi
}
${commands.join("")}${groups.join("")}${dispatcher("", model.names)}if [[ $funcstack[1] == _ringpipe ]]; then
  _ringpipe
else
  compdef _ringpipe ringpipe
fi
`;
}
