# bash completion of ringstore. What there is to complete ringstore itself says, so this needs no keeping up.

# The commands that the usage text names, one a line.
_ringstore_commands() {
	"$1" -h 2>&1 | awk '/^(Usage:| ) *ringstore [a-z]/ { sub(/^.*ringstore /, ""); print $1 }'
}

# The flags of a command, or of the server without one.
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

# Where nothing fits, names of files.
complete -o default -F _ringstore ringstore
