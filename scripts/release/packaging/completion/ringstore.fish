# fish completion of ringstore. It reads commands and flags from the program's own help, so it needs no updates.

function __ringstore_commands
    set -l program (commandline -opc)[1]
    $program -h 2>&1 | awk '/^(Usage:| ) *ringstore [a-z]/ { sub(/^.*ringstore /, ""); name = $1; sub(/^[^ ]+ (.*  )?/, ""); print name "\t" $0 }'
end

function __ringstore_flags
    set -l words (commandline -opc)
    set -l command
    if test (count $words) -gt 1; and not string match -q -- '-*' $words[2]
        set command $words[2]
    end
    set -l dash
    if string match -q -- '--*' (commandline -ct)
        set dash -
    end
    $words[1] $command -h 2>&1 | awk -v "dash=$dash" '/^  -/ { if (flag) print flag; flag = dash $1; next } flag && /^    / { sub(/^ +\t?/, ""); print flag "\t" $0; flag = "" } END { if (flag) print flag }'
end

function __ringstore_after
    contains -- (string replace -r '^--' - -- (commandline -opc)[-1]) $argv
end

complete -c ringstore -n 'test (count (commandline -opc)) -eq 1' -a '(__ringstore_commands)'
complete -c ringstore -n 'string match -q -- "-*" (commandline -ct)' -a '(__ringstore_flags)'
complete -c ringstore -n '__ringstore_after -loglevel' -f -a 'debug info warn err crit'
complete -c ringstore -n '__ringstore_after -o' -f -a 'plot table csv json'
complete -c ringstore -n '__ringstore_after -logformat' -f -a 'text json'
