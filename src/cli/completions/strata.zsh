#compdef strata
# zsh completion for strata(1)

_strata() {
    local -a lines values shown open open_shown
    local line value
    lines=("${(@f)$(strata complete -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case $lines[1] in
    files) compset -P '*='; _files; return ;;
    directories) compset -P '*='; _files -/; return ;;
    values) ;;
    *) return 1 ;;
    esac
    for line in "${(@)lines[2,-1]}"; do
        value=${line%%$'\t'*}
        case $value in
        *[@/=]) open+=("$value"); open_shown+=("${line/$'\t'/  -- }") ;;
        *) values+=("$value"); shown+=("${line/$'\t'/  -- }") ;;
        esac
    done
    (( $#values )) && compadd -V strata -l -d shown -a values
    # What goes on after it is followed by no space.
    (( $#open )) && compadd -V strata-open -S '' -l -d open_shown -a open
    return 0
}

if [[ $funcstack[1] == _strata ]]; then
    _strata "$@"
else
    compdef _strata strata
fi
