# fish completion for strata(1)

function __strata_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (string unescape -- (commandline --current-token --cut-at-cursor))
    set -l lines (strata complete -- $words "$current" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path $current
        case directories
            __fish_complete_directories $current
        case values
            printf '%s\n' $lines[2..-1]
    end
end

complete --command strata --no-files --keep-order --arguments '(__strata_complete)'
