/**
 * The completion script for bash. It needs nothing but bash 4.
 *
 * @module
 */
import type { FlagSpec, ValueSpec } from "./command.ts";
import { type CompletionModel, optionChoices, optionSets } from "./completions.ts";

const HELP: FlagSpec = { name: "help", short: "h", meaning: "" };

function forms(flag: FlagSpec): string[] {
  return [...flag.short ? [`-${flag.short}`] : [], `--${flag.name}`];
}

/** What the script calls the values of a flag or an operand: a kind, or the words themselves. */
function valuesOf({ kind = "text", choices }: ValueSpec): string {
  return choices ? `words ${choices.join(" ")}` : kind;
}

/** A `case` over `$1` with one line per pattern. */
function cases(lines: readonly (readonly [string, string])[]): string {
  return lines.map(([pattern, words]) => `    ${pattern}) echo "${words}" ;;\n`).join("");
}

function flagCases({ commands }: CompletionModel): string {
  return cases(
    commands.map(({ path, command }) => [`"${path}"`, [...command.flags, HELP].flatMap(forms).join(" ")]),
  );
}

function flagValueCases({ commands }: CompletionModel): string {
  return cases(
    commands.flatMap(({ path, command }) =>
      command.flags.filter((flag) => flag.value).map((flag): [string, string] => [
        forms(flag).map((form) => `"${path} ${form}"`).join("|"),
        valuesOf(flag),
      ])
    ),
  );
}

function operandCases({ commands }: CompletionModel): string {
  return cases(
    commands.flatMap(({ path, command }) =>
      command.operands.map((operand, i): [string, string] => [
        `"${path} ${i}"${operand.repeat ? `|"${path} "*` : ""}`,
        valuesOf(operand),
      ])
    ),
  );
}

function groupCases({ groups }: CompletionModel): string {
  return cases(Object.entries(groups).map(([name, inner]) => [name, inner.map(([word]) => word).join(" ")]));
}

function optionNameCases(model: CompletionModel): string {
  return cases(
    Object.entries(optionSets(model)).map((
      [backend, specs],
    ) => [backend, specs.map(({ name }) => `${name}=`).join(" ")]),
  );
}

function optionValueCases(model: CompletionModel): string {
  return cases(
    Object.entries(optionSets(model)).flatMap(([backend, specs]) =>
      specs.filter((spec) => optionChoices(spec).length > 0).map((spec): [string, string] => [
        `"${backend} ${spec.name}"`,
        optionChoices(spec).join(" "),
      ])
    ),
  );
}

/** Writes the script. */
export function bashScript(model: CompletionModel): string {
  const names = model.names.map(([name]) => name).join(" ");
  return `# ringpipe completions for bash
_ringpipe_flags() {
  case $1 in
${flagCases(model)}  esac
}
_ringpipe_flag_values() {
  case $1 in
${flagValueCases(model)}  esac
}
_ringpipe_operands() {
  case $1 in
${operandCases(model)}  esac
}
_ringpipe_group() {
  case $1 in
${groupCases(model)}  esac
}
_ringpipe_option_names() {
  case $1 in
${optionNameCases(model)}  esac
}
_ringpipe_option_values() {
  case $1 in
${optionValueCases(model)}  esac
}
_ringpipe() {
  # Bash splits words at "=" and ":"; here they are put together again, the last one being completed.
  local line=\${COMP_LINE:0:COMP_POINT} words cur path backend word flag= kind operands=0 i
  read -r -a words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  cur=\${words[-1]}
  COMPREPLY=()
  if (( \${#words[@]} <= 2 )); then
    COMPREPLY=($(compgen -W "${names} --help --version" -- "$cur"))
    return
  fi
  path=\${words[1]}
  i=2
  if [[ -n $(_ringpipe_group "$path") ]]; then
    if (( \${#words[@]} == 3 )); then
      COMPREPLY=($(compgen -W "$(_ringpipe_group "$path") --help" -- "$cur"))
      return
    fi
    path="$path \${words[2]}"
    i=3
  fi
  for (( ; i < \${#words[@]} - 1; i++ )); do
    word=\${words[i]}
    if [[ -n $flag ]]; then
      [[ $flag == -b || $flag == --backend ]] && backend=$word
      flag=
    elif [[ $word == --backend=* ]]; then
      backend=\${word#*=}
    elif [[ $word == -?* ]]; then
      [[ -n $(_ringpipe_flag_values "$path $word") ]] && flag=$word
    else
      (( operands++ ))
    fi
  done
  if [[ -z $flag && $cur == --*=* ]]; then
    flag=\${cur%%=*}
    cur=\${cur#*=}
  fi
  if [[ -n $flag ]]; then
    kind=$(_ringpipe_flag_values "$path $flag")
  elif [[ $cur == -?* ]]; then
    COMPREPLY=($(compgen -W "$(_ringpipe_flags "$path")" -- "$cur"))
    return
  else
    kind=$(_ringpipe_operands "$path $operands")
  fi
  case $kind in
    file | module)
      compopt -o filenames 2> /dev/null
      local IFS=$'\\n'
      COMPREPLY=($(compgen -f -- "$cur"))
      ;;
    backend) COMPREPLY=($(compgen -W "${Object.keys(model.options).join(" ")}" -- "$cur")) ;;
    command) COMPREPLY=($(compgen -W "${names}" -- "$cur")) ;;
    struct)
      COMPREPLY=($(compgen -W "${model.structs.join(" ")}" -- "$cur"))
      # Bash replaces what follows the last ":" only.
      if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*:}"}"}")
      fi
      ;;
    words*) COMPREPLY=($(compgen -W "\${kind#words }" -- "$cur")) ;;
    option)
      [[ -n $(_ringpipe_option_names "$path") ]] && backend=$path
      if [[ $cur == *=* ]]; then
        COMPREPLY=($(compgen -W "$(_ringpipe_option_values "$backend \${cur%%=*}")" -- "\${cur#*=}"))
      else
        compopt -o nospace 2> /dev/null
        COMPREPLY=($(compgen -W "$(_ringpipe_option_names "$backend")" -- "$cur"))
      fi
      ;;
  esac
}
complete -F _ringpipe ringpipe
`;
}
