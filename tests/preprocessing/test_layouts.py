"""The commands of docs/layouts.md, typed as they are printed, on miniatures of the public sets."""

import csv
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from scangan.preprocessing import load_dataset

PAGE = (Path(__file__).parents[2] / "docs/layouts.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?:any download from )?\[([^]]+)\].*?`(prep-scans .*)` \|$", PAGE, re.M)
COMMANDS = {name: command.replace("\\|", "|") for name, command in ROWS}


def pixels(file):
    seed = list(str(file).encode())
    return cv2.resize(np.random.default_rng(seed).integers(0, 255, (9, 9), np.uint8), (40, 40))


def images(*files):
    for file in map(Path, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(file.suffix, pixels(file))[1].tobytes())


def dicoms(patient_of):
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    for file, patient in patient_of.items():
        scan = Dataset()
        scan.file_meta = FileMetaDataset()
        scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        scan.file_meta.MediaStorageSOPClassUID = scan.SOPClassUID = CTImageStorage
        scan.file_meta.MediaStorageSOPInstanceUID = scan.SOPInstanceUID = generate_uid()
        scan.PatientID, scan.Modality = patient, "CT"
        scan.Rows = scan.Columns = 40
        scan.BitsAllocated = scan.BitsStored = 8
        scan.HighBit, scan.PixelRepresentation, scan.SamplesPerPixel = 7, 0, 1
        scan.PhotometricInterpretation = "MONOCHROME2"
        scan.PixelData = pixels(file).tobytes()
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        scan.save_as(file, enforce_file_format=True)


def table(file, heading, *rows):
    with Path(file).open("w", newline="") as opened:
        csv.writer(opened).writerows([heading.split(","), *rows])


def chest(root):
    for part, count in (("train", 3), ("test", 2), ("val", 1)):
        for k in range(count):
            images(f"{root}/{part}/NORMAL/IM-{k:04d}-0001.jpeg",
                   f"{root}/{part}/PNEUMONIA/person{k}_bacteria_1.jpeg")  # fmt: skip


def brain_tumour():
    for name, count in (
        ("glioma_tumor", 4),
        ("meningioma_tumor", 3),
        ("no_tumor", 2),
        ("pituitary_tumor", 1),
    ):
        images(*(f"archive/Training/{name}/{name[0]} ({k}).jpg" for k in range(count)))
        images(f"archive/Testing/{name}/image(1).jpg")
    return {"glioma_tumor": 4, "meningioma_tumor": 3, "no_tumor": 2, "pituitary_tumor": 1}, 0


def chest_xray():
    chest("chest_xray")
    chest("chest_xray/chest_xray")
    return {"NORMAL": 3, "PNEUMONIA": 3}, 6


def nih():
    images(*(f"nih/images_{k:03d}/images/0000000{k}_00{i}.png" for k in (1, 2) for i in (0, 1)))
    table(
        "nih/Data_Entry_2017.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age",
        ["00000001_000.png", "Cardiomegaly", 0, 1, 58],
        ["00000001_001.png", "Effusion|Mass", 1, 1, 58],
        ["00000002_000.png", "No Finding", 0, 2, 81],
        ["00000002_001.png", "Mass|Effusion", 1, 2, 81],
        ["00000003_000.png", "Mass", 0, 3, 81],
    )  # of a part that was not downloaded
    return {"Cardiomegaly": 1, "Effusion+Mass": 2, "No Finding": 1}, 2


def rsna():
    names = [f"0004cfab-14fd-4e49-80ba-63a80b6bddd{k}" for k in range(3)]
    dicoms({f"rsna/stage_2_train_images/{name}.dcm": name for name in names})
    table(
        "rsna/stage_2_train_labels.csv",
        "patientId,x,y,width,height,Target",
        [names[0], "", "", "", "", 0],
        [names[1], 264, 152, 213, 379, 1],
        [names[1], 562, 152, 256, 453, 1],
        [names[2], 323, 577, 160, 104, 1],
    )
    return {"0": 1, "1": 2}, 3


def siim():
    root = "siim/dicom-images-train"
    dicoms(
        {
            f"{root}/1.2.276.0.7230010.{k}/1.2.276.0.7230011.{k}/1.2.{k}.dcm": f"p{k}"
            for k in range(4)
        }
    )
    table("siim/train-rle.csv", "ImageId, EncodedPixels", ["1.2.0", "-1"])
    return {"dicom-images-train": 4}, 4


def cbis_ddsm():
    paths = [
        f"Mass-Training_P_0000{k}_LEFT_CC/1.3.6.1.4.{k}/1.3.6.1.5.{k}/000000.dcm" for k in (1, 2, 3)
    ]
    dicoms({f"CBIS-DDSM/{path}": path.split("/")[0] for path in paths})
    table(
        "mass_case_description_train_set.csv",
        "patient_id,abnormality id,pathology,image file path",
        ["P_00001", 1, "MALIGNANT", paths[0]],
        ["P_00001", 2, "MALIGNANT", paths[0] + "\n"],
        ["P_00002", 1, "BENIGN", paths[1]],
        ["P_00003", 1, "BENIGN_WITHOUT_CALLBACK", paths[2]],
    )
    return {"BENIGN": 1, "BENIGN_WITHOUT_CALLBACK": 1, "MALIGNANT": 1}, 3


def lidc():
    root = "manifest-1600709154662"
    dicoms(
        {
            f"{root}/LIDC-IDRI/LIDC-IDRI-000{k}/01-01-2000-NA/3000566.0-NA/1-{i}.dcm": f"LIDC-{k}"
            for k in (1, 2, 3)
            for i in (1, 2)
        }
    )
    Path(root, "metadata.csv").write_text("Series UID,Collection\n")
    return {"LIDC-IDRI": 6}, 3


def brats():
    nibabel = pytest.importorskip("nibabel")
    for case in ("HGG/Brats18_2013_11_1", "HGG/Brats18_CBICA_AAB_1", "LGG/Brats18_TCIA09_141_1"):
        file = Path("BraTS", case, case.split("/")[1] + "_flair.nii.gz")
        file.parent.mkdir(parents=True)
        values = np.random.default_rng(len(case)).integers(0, 900, (30, 30, 10)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 3, 1])), file)
    Path("BraTS/survival_data.csv").write_text("Brats18ID,Age,Survival\n")
    return {"HGG": 4, "LGG": 2}, 3


def isic_2020():
    images(*(f"isic/train/ISIC_001526{k}.jpg" for k in range(4)))
    table(
        "isic/train.csv",
        "image_name,patient_id,sex,diagnosis,benign_malignant,target",
        *(
            [f"ISIC_001526{k}", f"IP_{k // 2}", "male", "unknown", kind, 0]
            for k, kind in enumerate(["benign", "malignant", "benign", "benign"])
        ),
    )
    return {"benign": 3, "malignant": 1}, 2


def isic_2019():
    images(*(f"ISIC_2019_Training_Input/ISIC_000000{k}.jpg" for k in range(3)))
    table(
        "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,UNK",
        ["ISIC_0000000", "0.0", "1.0", "0.0", "0.0"],
        ["ISIC_0000001", "1.0", "0.0", "0.0", "0.0"],
        ["ISIC_0000002", "0.0", "1.0", "0.0", "0.0"],
    )
    exec(re.search(r"```python\n(.*?)```", PAGE, re.S)[1], {})
    return {"MEL": 1, "NV": 2}, 0


def medmnist():
    for part, count in (("train", 4), ("val", 2), ("test", 1)):
        images(*(f"pneumoniamnist/{part}/{name}/{k}.png" for name in "01" for k in range(count)))
    return {"0": 4, "1": 4}, 0


def tcia():
    root = "manifest-1700000000000"
    dicoms(
        {
            f"{root}/{name}/{name}-00{k}/01-01-2001-NA-CT/2.000000-THORAX-7{k}/1-0{i}.dcm": f"{name}-{k}"
            for name in ("NSCLC-Radiomics", "HNSCC")
            for k in (1, 2, 3)
            for i in (1, 2)
        }
    )
    Path(root, "metadata.csv").write_text("Series UID,Collection\n")
    Path(root, "LICENSE").write_text("CC BY 3.0")
    return {"HNSCC": 6, "NSCLC-Radiomics": 6}, 6


MINIATURES = {
    "Brain tumour MRI": brain_tumour, "Chest X-ray, pneumonia": chest_xray, "NIH ChestX-ray14": nih,
    "RSNA pneumonia": rsna, "SIIM-ACR pneumothorax": siim, "CBIS-DDSM": cbis_ddsm, "LIDC-IDRI": lidc,
    "BraTS 2018": brats, "ISIC 2020": isic_2020, "ISIC 2019": isic_2019, "MedMNIST": medmnist,
    "TCIA": tcia,
}  # fmt: skip


def test_the_page_and_the_miniatures_name_the_same_sets():
    assert set(COMMANDS) == set(MINIATURES)


@pytest.mark.parametrize("name", MINIATURES)
def test_the_command_of_the_page_works(name, tmp_path, monkeypatch, capsys):
    from scangan.cli.prepare import main

    monkeypatch.chdir(tmp_path)
    counts, subjects = MINIATURES[name]()
    program, *argv = shlex.split(COMMANDS[name])
    assert program == "prep-scans"
    main([*argv, "--quiet"], standalone_mode=False)
    dataset = load_dataset("prepared")
    assert dataset.counts == counts
    told = {item.subject for item in dataset.items} - {None}
    assert len(told) == subjects
    assert not capsys.readouterr().out
    main(argv, standalone_mode=False)  # recognised as done
    assert f"{sum(counts.values())} scans prepared" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "source", "meant"),
    [("Chest X-ray, pneumonia", "chest_xray", "chest_xray/train"),
     ("Brain tumour MRI", "archive", "archive/Training"),
     ("MedMNIST", "pneumoniamnist", "pneumoniamnist/train"),
     ("SIIM-ACR pneumothorax", "siim/dicom-images-train", "siim/dicom-images-train OUT --class-level 0"),
     ("NIH ChestX-ray14", "nih/images_001", "")],
)  # fmt: skip
def test_the_folder_that_one_gives_first_leads_to_the_command(
    name, source, meant, tmp_path, monkeypatch
):
    from scangan.core.errors import PreprocessingError
    from scangan.preprocessing.find_scans import SourceOptions, find_scans

    monkeypatch.chdir(tmp_path)
    MINIATURES[name]()
    if not meant:  # a part of it is a folder like any other
        assert find_scans(Path(source), SourceOptions()).scans
        return
    with pytest.raises(PreprocessingError, match=re.escape(meant)):
        find_scans(Path(source), SourceOptions())
