from .board import board_json as board_json
from .onnx_file import export_onnx as export_onnx
from .tidy import frame as frame
from .tidy import to_csv as to_csv
from .tidy import to_parquet as to_parquet
