# bash completion for strata(1)

_strata() {
    local line=${COMP_LINE:0:COMP_POINT} words=() last=-1 i piece
    # bash breaks words at @, : and = as well: what no blank separates is one word here.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
            line=${line#"${line%%[![:blank:]]*}"}
            words[++last]=
        fi
        piece=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && piece=$line
        words[last]+=$piece
        line=${line#"$piece"}
    done

    # bash replaces the end of it only, which it says is $2.
    local word=${words[last]} kept=
    [[ $word != [\"\']* && $word == *"$2" ]] && kept=${word%"$2"}

    local kind value values=()
    {
        IFS= read -r kind
        while IFS=$'\t' read -r value _; do
            values+=("$value")
        done
    } < <(strata complete -- "${words[@]}" 2>/dev/null)

    COMPREPLY=()
    local IFS=$'\n'
    case $kind in
    files) compopt -o filenames && COMPREPLY=($(compgen -f -- "${word#"$kept"}")) ;;
    directories) compopt -o filenames && COMPREPLY=($(compgen -d -- "${word#"$kept"}")) ;;
    values)
        for value in "${values[@]}"; do
            case $word in
            [\"\']*) ;; # bash closes the quote
            *) printf -v value '%q' "$value" ;;
            esac
            COMPREPLY+=("${value#"$kept"}")
        done
        [[ ${#values[@]} == 1 && $value == *[@/=] ]] && compopt -o nospace
        ;;
    esac
    return 0
} 2>/dev/null

complete -o nosort -F _strata strata 2>/dev/null || complete -F _strata strata
