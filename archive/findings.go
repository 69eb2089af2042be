package archive

import (
	"errors"
	"io/fs"

	"github.com/ringstore/ringstore/archive/disk"
)

// reportProblem reports what the list of files shows, and sets aside a file that does not belong or
// is damaged as a whole.
func (r *restorer) reportProblem(problem error) error {
	switch p := problem.(type) {
	case *disk.DamageError:
		return r.setAsideDamaged(p)
	case *disk.ForeignError:
		return r.setAsideForeign(p)
	case *disk.MissingError:
		r.reportMissing(p)
	}
	return nil
}

func (r *restorer) reportMissing(m *disk.MissingError) {
	r.total.Missing++
	r.Logger.Error("a file is missing", "error", m)
}

func (r *restorer) setAsideForeign(f *disk.ForeignError) error {
	r.total.Foreign++
	if r.readOnly != nil {
		r.Logger.Error("a file does not belong to this directory; it is not used", "error", f)
		return nil
	}
	r.Logger.Error("a file does not belong to this directory; it is not used and was renamed", "to", f.Path+disk.ForeignSuffix, "error", f)
	return disk.SetAside(r.FS, f.Path, disk.ForeignSuffix)
}

func (r *restorer) setAsideDamaged(d *disk.DamageError) error {
	r.total.Damaged++
	if r.readOnly != nil {
		r.Logger.Error("a file is damaged and unreadable", "error", d)
		return nil
	}
	r.Logger.Error("a file is damaged and unreadable; it was renamed", "to", d.Path+damagedSuffix, "error", d)
	return r.FS.Rename(d.Path, d.Path+damagedSuffix)
}

// reportUnreadable logs that a part of a file cannot be read. The file stays as it is.
func (r *restorer) reportUnreadable(err error) {
	r.total.Unreadable++
	r.unreadable.Add(1)
	r.Logger.Error("a file cannot be read; its samples are missing until a start can read it, and it is kept", "error", err)
}

// reportDamage logs damage and gives the file a second name, which no cleanup removes. Errors of
// reading are no damage.
func (r *restorer) reportDamage(path string, damage error) {
	if _, ok := errors.AsType[*disk.ReadError](damage); ok {
		r.reportUnreadable(damage)
		return
	}
	r.total.Damaged++
	if r.readOnly != nil {
		r.Logger.Error("a file is damaged; its undamaged part is restored", "error", damage)
		return
	}
	r.Logger.Error("a file is damaged; its undamaged part is restored, and the file is kept", "as", path+damagedSuffix, "error", damage)
	if err := r.FS.Link(path, path+damagedSuffix); err != nil && !errors.Is(err, fs.ErrExist) {
		r.Logger.Error("a damaged file could not be kept", "error", err)
	}
}
