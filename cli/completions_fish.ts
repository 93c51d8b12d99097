/**
 * The completion script for fish.
 *
 * @module
 */
import type { FlagSpec, ValueSpec } from "./command.ts";
import { type CompletionModel, optionChoices, optionSets } from "./completions.ts";

/** Text between single quotes, where fish reads the backslash. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}

/** How a value is completed: files if nothing else is said. */
function valueArguments({ kind = "text", choices }: ValueSpec, own = ""): string {
  if (choices) return ` -x -a ${quoted(choices.join(" "))}`;
  switch (kind) {
    case "file":
    case "module":
      return " -r -F";
    case "backend":
    case "struct":
      return ` -x -a '(__ringpipe_${kind}s)'`;
    case "option":
      return ` -x -a '(__ringpipe_options ${own})'`;
    case "command":
      return " -x -a '(__ringpipe_commands)'";
    default:
      return " -x";
  }
}

function flagLine(condition: string, flag: FlagSpec, own?: string): string {
  const short = flag.short ? ` -s ${flag.short}` : "";
  const value = flag.value ? valueArguments(flag, own) : "";
  return `complete -c ringpipe -n ${quoted(condition)}${short} -l ${flag.name}${value} -d ${
    quoted(flag.meaning)
  }\n`;
}

function wordLines(condition: string, words: readonly (readonly [string, string])[]): string {
  return words.map(([word, summary]) =>
    `complete -c ringpipe -n ${quoted(condition)} -f -a ${quoted(word)} -d ${quoted(summary)}\n`
  ).join("");
}

function optionCases(model: CompletionModel): string {
  return Object.entries(optionSets(model)).map(([backend, specs]) => {
    const lines = specs.flatMap((spec) => {
      const choices = optionChoices(spec);
      const words = choices.length > 0
        ? choices.map((choice) => `${spec.name}=${choice}`)
        : [`${spec.name}=`];
      return words.map((word) => `      printf '%s\\t%s\\n' ${quoted(word)} ${quoted(spec.meaning)}\n`);
    });
    return `    case ${backend}\n${lines.join("")}`;
  }).join("");
}

/** Writes the script. */
export function fishScript(model: CompletionModel): string {
  const valueFlags = new Set(
    model.commands.flatMap(({ command }) => command.flags.filter((flag) => flag.value)).flatMap((flag) => [
      ...flag.short ? [`-${flag.short}`] : [],
      `--${flag.name}`,
    ]),
  );
  const lines = model.commands.map(({ path, command }) => {
    const at = `__ringpipe_at ${path}`;
    const operands = command.operands.map((operand, i) => {
      const place = operand.repeat ? `${i} more` : `${i}`;
      return `complete -c ringpipe -n ${quoted(`__ringpipe_operand ${place} ${path}`)}${
        valueArguments(operand)
      }\n`;
    });
    const own = command.options && path;
    return command.flags.map((flag) => flagLine(at, flag, own)).join("") +
      flagLine(at, { name: "help", short: "h", meaning: "Prints help" }) + operands.join("");
  });
  const groups = Object.entries(model.groups).map(([name, words]) =>
    wordLines(`__ringpipe_only ${name}`, words)
  );
  return `# ringpipe completions for fish
function __ringpipe_backends
  printf '%s\\n' ${Object.keys(model.options).join(" ")}
end
function __ringpipe_structs
  printf '%s\\n' ${model.structs.map(quoted).join(" ")}
end
function __ringpipe_commands
  printf '%s\\n' ${model.names.map(([name]) => name).join(" ")}
end
# Words before the cursor that are no flags and no values of flags.
function __ringpipe_words
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip = 1
      set skip 0
    else if contains -- $word ${[...valueFlags].join(" ")}
      set skip 1
    else if not string match -q -- '-?*' $word
      echo $word
    end
  end
end
# Whether the words so far are exactly these.
function __ringpipe_only
  set -l words (__ringpipe_words)
  test "$words" = "$argv"
end
# Whether these are the first words.
function __ringpipe_at
  set -l words (__ringpipe_words)
  string match -q -- "$argv *" "$words "
end
# Whether the operand with that number (or a later one, with "more") comes next.
function __ringpipe_operand
  set -l wanted $argv[1]
  set -e argv[1]
  set -l more 0
  if test "$argv[1]" = more
    set more 1
    set -e argv[1]
  end
  __ringpipe_at $argv; or return 1
  set -l number (math (count (__ringpipe_words)) - (count $argv))
  test $number = $wanted; or begin; test $more = 1; and test $number -gt $wanted; end
end
function __ringpipe_options
  set -l backend $argv
  set -l words (commandline -opc)
  for i in (seq (count $words))
    switch $words[$i]
      case -b --backend
        test -z "$argv"; and set backend $words[(math $i + 1)]
      case '--backend=*'
        test -z "$argv"; and set backend (string replace -- --backend= '' $words[$i])
    end
  end
  switch "$backend"
${optionCases(model)}  end
end
complete -c ringpipe -f
${wordLines("__ringpipe_only", model.names)}${groups.join("")}${lines.join("")}`;
}
