# bash completion of ringstore. It reads commands and flags from the program's own help, so it needs no updates.

# Prints the commands that the help names, one per line.
_ringstore_commands() {
	"$1" -h 2>&1 | awk '/^(Usage:| ) *ringstore [a-z]/ { sub(/^.*ringstore /, ""); print $1 }'
}

# Prints the flags of a command, or of the server if there is none.
_ringstore_flags() {
	"$@" -h 2>&1 | awk '/^  -/ { print $1 }'
}

_ringstore() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=()
	COMPREPLY=()
	if [[ COMP_CWORD -gt 1 && ${COMP_WORDS[1]} != -* ]]; then
		command=("${COMP_WORDS[1]}")
	fi
	case $previous in
	-loglevel | --loglevel) COMPREPLY=($(compgen -W 'debug info warn err crit' -- "$current")) ;;
	-o | --o) COMPREPLY=($(compgen -W 'plot table csv json' -- "$current")) ;;
	-logformat | --logformat) COMPREPLY=($(compgen -W 'text json' -- "$current")) ;;
	*)
		if [[ $current == --* ]]; then
			COMPREPLY=($(compgen -P - -W "$(_ringstore_flags "${COMP_WORDS[0]}" "${command[@]}")" -- "${current#-}"))
		elif [[ $current == -* ]]; then
			COMPREPLY=($(compgen -W "$(_ringstore_flags "${COMP_WORDS[0]}" "${command[@]}")" -- "$current"))
		elif [[ COMP_CWORD -eq 1 ]]; then
			COMPREPLY=($(compgen -W "$(_ringstore_commands "${COMP_WORDS[0]}")" -- "$current"))
		fi
		;;
	esac
}

# If nothing matches, complete file names.
complete -o default -F _ringstore ringstore
